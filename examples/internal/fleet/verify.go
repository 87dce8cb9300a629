package fleet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/enclavepool/enclavepool/examples/signer"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

// signTimeout bounds the wait for one signature in the end: nothing is being killed any more.
const signTimeout = 20 * time.Second

// Verify signs with every key through every gateway, checks the signatures with the public keys that were acknowledged,
// and asks once for each key to be made again, which has to give the same one. The error has the first few that are wrong.
func (f *Fleet) Verify(ctx context.Context, keys map[string][]byte) error {
	names := make(chan string)
	var mu sync.Mutex
	var wrong []error
	n := 0
	note := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if n++; n <= 5 {
			wrong = append(wrong, err)
		}
	}
	var wg sync.WaitGroup
	for caller := range 16 {
		wg.Go(func() {
			for name := range names {
				for _, g := range f.Gateways {
					if err := g.Sign(ctx, name, keys[name]); err != nil {
						note(err)
					}
				}
				if err := f.Gateways[caller%len(f.Gateways)].again(ctx, name, keys[name]); err != nil {
					note(err)
				}
			}
		})
	}
	for name := range keys {
		names <- name
	}
	close(names)
	wg.Wait()
	if n > len(wrong) {
		wrong = append(wrong, fmt.Errorf("and %d more", n-len(wrong)))
	}
	return errors.Join(wrong...)
}

// Sign signs with a key, again while the gateway says that this may help, and verifies the signature.
func (g *Gateway) Sign(ctx context.Context, name string, public []byte) error {
	return patiently(ctx, func(ctx context.Context) error { return g.SignOnce(ctx, name, public) })
}

// patiently calls f again while its error says that this may help.
func patiently(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, signTimeout)
	defer cancel()
	for {
		err := f(ctx)
		if err == nil || !Retryable(err) || ctx.Err() != nil {
			return err
		}
		wait(ctx, 20*time.Millisecond)
	}
}

// SignOnce is one attempt of Sign.
func (g *Gateway) SignOnce(ctx context.Context, name string, public []byte) error {
	digest := sha256.Sum256([]byte(name))
	res, err := g.Signer().Sign(ctx, &signerv1.SignRequest{KeyId: name, Digest: digest[:]})
	if err != nil {
		return fmt.Errorf("signing with %s through %s: %w", name, g.Name, err)
	}
	if err := signer.Verify(res.GetAlgorithm(), public, digest[:], res.GetSignature()); err != nil {
		return fmt.Errorf("signing with %s through %s: another key than was acknowledged: %w", name, g.Name, err)
	}
	return nil
}

// again asks for a key that there is.
func (g *Gateway) again(ctx context.Context, name string, public []byte) error {
	return patiently(ctx, func(ctx context.Context) error { return g.againOnce(ctx, name, public) })
}

func (g *Gateway) againOnce(ctx context.Context, name string, public []byte) error {
	res, err := g.Signer().Create(ctx, &signerv1.CreateRequest{KeyId: name, Algorithm: signerv1.Algorithm_ALGORITHM_ED25519})
	if err != nil {
		return fmt.Errorf("creating %s again through %s: %w", name, g.Name, err)
	}
	if !bytes.Equal(res.GetPublicKey(), public) {
		return fmt.Errorf("creating %s again through %s made a second key", name, g.Name)
	}
	return nil
}
