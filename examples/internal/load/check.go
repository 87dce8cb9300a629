package load

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/enclavepool/enclavepool/examples/signer"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

// checkQueue is the number of signatures that may wait for their verification before callers have to.
const checkQueue = 4096

// signed is a signature to be verified.
type signed struct {
	key               *signerv1.CreateResponse
	digest, signature []byte
}

// checker verifies signatures beside the callers, so that no call's latency contains a verification.
type checker struct {
	every    uint64
	made     atomic.Uint64
	verified atomic.Uint64
	invalid  atomic.Uint64
	example  atomic.Pointer[string]

	queue   chan signed
	workers sync.WaitGroup
}

func newChecker(every int) *checker {
	c := &checker{every: uint64(every), queue: make(chan signed, checkQueue)}
	if every > 0 {
		for range runtime.GOMAXPROCS(0) {
			c.workers.Go(c.work)
		}
	}
	return c
}

// take counts a signature and has every so many verified.
func (c *checker) take(s signed) {
	n := c.made.Add(1)
	if c.every > 0 && n%c.every == 0 {
		c.queue <- s
	}
}

func (c *checker) work() {
	for s := range c.queue {
		err := signer.Verify(s.key.GetAlgorithm(), s.key.GetPublicKey(), s.digest, s.signature)
		if err == nil {
			c.verified.Add(1)
			continue
		}
		c.invalid.Add(1)
		text := fmt.Sprintf("key %q: %v", s.key.GetKeyId(), err)
		c.example.CompareAndSwap(nil, &text)
	}
}

// finish verifies what is left. No signature may be taken any more.
func (c *checker) finish() Signatures {
	close(c.queue)
	c.workers.Wait()
	out := Signatures{Made: c.made.Load(), Verified: c.verified.Load(), Invalid: c.invalid.Load()}
	if text := c.example.Load(); text != nil {
		out.Example = *text
	}
	return out
}
