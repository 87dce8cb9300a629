package gateway

// Router says which enclave serves a key. The same key has to give the same enclave every time and in every
// gateway, since a key exists in one enclave only.
type Router interface {
	Route(keyID string) (enclaveID string)
}

// rendezvous gives a key to the enclave with the highest hash of enclave and key together (highest random weight
// hashing, Thaler and Ravishankar 1998). An enclave that is added takes an equal share of the keys from each of the
// others, and no other key moves.
type rendezvous []string

// Route implements Router. Among equal hashes the smaller ID wins, so that the order of the list means nothing.
func (r rendezvous) Route(keyID string) string {
	var (
		owner string
		best  uint64
	)
	for i, id := range r {
		if h := score(id, keyID); i == 0 || h > best || h == best && id < owner {
			owner, best = id, h
		}
	}
	return owner
}

// score is FNV-1a over both, 0 between them so that "a","bc" is not "ab","c", and then the finalizer of MurmurHash3:
// FNV alone leaves the high bits of similar inputs alike, and it is the high bits that decide.
func score(enclaveID, keyID string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for _, s := range [...]string{enclaveID, "\x00", keyID} {
		for i := range len(s) {
			h = (h ^ uint64(s[i])) * 0x100000001b3
		}
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
