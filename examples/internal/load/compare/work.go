package compare

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"google.golang.org/grpc"

	"github.com/enclavepool/enclavepool/examples/signer"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
	"github.com/enclavepool/enclavepool/internal/target"
)

// digestsEach is how many digests a caller has: more than one, so that an answer to its own last request
// is told from the one to this. They are nobody else's.
const digestsEach = 2

// task is one digest to sign. Signatures are deterministic, so what the right answer is can be found out,
// and verified, beforehand: then every answer is checked at the price of comparing bytes.
type task struct {
	enclave int
	keyID   string
	digest  []byte
	want    []byte
}

// place is an enclave as the modes reach it.
type place struct {
	id, target string
	parsed     target.Target
	process    *process // nil: not ours, its CPU time is not known
}

// errMixed says that some enclaves sign and some do not.
var errMixed = errors.New("some enclaves echo the digest and some sign: they cannot be in one table")

// prepare makes a key in each enclave and the tasks of the callers, and tells whether the enclaves echo.
func prepare(ctx context.Context, places []place, alg signerv1.Algorithm, callers int) (tasks [][]task, echo bool, err error) {
	tasks = make([][]task, callers)
	for e, p := range places {
		cc, err := connect(p.parsed)
		if err != nil {
			return nil, false, err
		}
		defer cc.Close()
		client := signerv1.NewSignerServiceClient(cc)
		key, err := client.Create(ctx, &signerv1.CreateRequest{KeyId: "compare-" + rand.Text()[:8], Algorithm: alg}, grpc.WaitForReady(true))
		if err != nil {
			return nil, false, fmt.Errorf("enclave %s: creating a key: %w", p.id, err)
		}
		for i := e; i < callers; i += len(places) {
			for range digestsEach {
				t := task{enclave: e, keyID: key.GetKeyId(), digest: make([]byte, signer.DigestSize)}
				_, _ = rand.Read(t.digest) // never fails
				res, err := client.Sign(ctx, &signerv1.SignRequest{KeyId: t.keyID, Digest: t.digest})
				if err != nil {
					return nil, false, fmt.Errorf("enclave %s: %w", p.id, err)
				}
				t.want = res.GetSignature()
				echoes := bytes.Equal(t.want, t.digest)
				if (e > 0 || len(tasks[0]) > 0) && echoes != echo {
					return nil, false, errMixed
				}
				echo = echoes
				if !echo {
					if err := signer.Verify(key.GetAlgorithm(), key.GetPublicKey(), t.digest, t.want); err != nil {
						return nil, false, fmt.Errorf("enclave %s: %w", p.id, err)
					}
				}
				tasks[i] = append(tasks[i], t)
			}
		}
	}
	return tasks, echo, nil
}
