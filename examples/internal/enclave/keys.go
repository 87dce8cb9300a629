package enclave

import (
	"crypto/ed25519"
	"crypto/rand"
	"maps"
	"slices"
	"sync"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/examples/signer"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

// key is one key pair. It does not change once made.
type key struct {
	algorithm signerv1.Algorithm
	public    []byte
	sign      func(digest []byte) []byte
}

// newKey draws a key for the algorithm; unspecified stands for ECDSA.
func newKey(alg signerv1.Algorithm) (*key, error) {
	switch alg {
	case signerv1.Algorithm_ALGORITHM_UNSPECIFIED, signerv1.Algorithm_ALGORITHM_ECDSA_SECP256K1:
		priv, err := secp256k1.GeneratePrivateKey()
		if err != nil {
			return nil, status.Errorf(codes.Internal, "drawing a key: %v", err)
		}
		return &key{
			algorithm: signerv1.Algorithm_ALGORITHM_ECDSA_SECP256K1,
			public:    priv.PubKey().SerializeCompressed(),
			sign:      func(digest []byte) []byte { return ecdsa.Sign(priv, digest).Serialize() },
		}, nil
	case signerv1.Algorithm_ALGORITHM_ED25519:
		pub, priv, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, status.Errorf(codes.Internal, "drawing a key: %v", err)
		}
		return &key{
			algorithm: alg,
			public:    pub,
			sign:      func(digest []byte) []byte { return ed25519.Sign(priv, digest) },
		}, nil
	}
	return nil, status.Errorf(codes.InvalidArgument, "algorithm %v is not one of this enclave's: want %v or %v", alg,
		signerv1.Algorithm_ALGORITHM_ECDSA_SECP256K1, signerv1.Algorithm_ALGORITHM_ED25519)
}

// keyring holds the keys by their names. None ever goes.
type keyring struct {
	mu   sync.RWMutex
	keys map[string]*key
	// sorted has the names in order as they were when it was made.
	sorted []string
}

func (r *keyring) get(id string) (*key, error) {
	r.mu.RLock()
	k := r.keys[id]
	r.mu.RUnlock()
	if k == nil {
		return nil, status.Error(codes.NotFound, "no such key in this enclave") // its name is not repeated: errors are logged
	}
	return k, nil
}

// create returns the key that goes by the id, which it makes if there is none. An empty id is replaced
// by a random one.
func (r *keyring) create(id string, alg signerv1.Algorithm) (string, *key, error) {
	if len(id) > signer.MaxKeyIDSize {
		return "", nil, status.Errorf(codes.InvalidArgument, "key_id has %d bytes: want at most %d", len(id), signer.MaxKeyIDSize)
	}
	fresh, err := newKey(alg) // outside the lock: drawing a key takes longer than many look-ups
	if err != nil {
		return "", nil, err
	}
	if id == "" {
		id = rand.Text()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if k := r.keys[id]; k != nil {
		if k.algorithm != fresh.algorithm {
			return "", nil, status.Errorf(codes.AlreadyExists, "the key has the algorithm %v", k.algorithm)
		}
		return id, k, nil
	}
	if r.keys == nil {
		r.keys = make(map[string]*key)
	}
	r.keys[id] = fresh
	return id, fresh, nil
}

// list returns at most limit names from the given one on, in the order of their bytes, and whether there are more.
func (r *keyring) list(from string, limit int) (names []string, more bool) {
	r.mu.Lock()
	if len(r.sorted) != len(r.keys) {
		r.sorted = slices.Sorted(maps.Keys(r.keys)) // anew, since an earlier answer may still be read
	}
	all := r.sorted
	r.mu.Unlock()
	i, _ := slices.BinarySearch(all, from)
	n := min(limit, len(all)-i)
	return all[i : i+n], i+n < len(all)
}

func (r *keyring) len() int {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return len(r.keys)
}
