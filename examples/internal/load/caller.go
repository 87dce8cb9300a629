package load

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/examples/signer"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

// caller makes one call after another.
type caller struct {
	r      *run
	id     int
	client signerv1.SignerServiceClient
	stream *stream         // nil in Unary mode
	base   context.Context // of calls: it does not end with the run, so that calls in flight may finish
	seed   [signer.DigestSize]byte
}

func (r *run) newCaller(base context.Context, id int) *caller {
	c := &caller{r: r, id: id, base: base, client: signerv1.NewSignerServiceClient(r.cfg.Conns[id%len(r.cfg.Conns)])}
	_, _ = rand.Read(c.seed[:]) // never fails
	if r.cfg.Mode == Stream {
		c.stream = newStream(r, c.client, r.callContext(base, c.key(0).GetKeyId()))
	}
	return c
}

// work makes calls until ctx ends.
func (c *caller) work(ctx context.Context) {
	for n := 0; ; n++ {
		from, ok := c.r.begin(ctx, c.id, n)
		if !ok {
			return
		}
		key, digest := c.key(n), c.digest(n)
		res, err := c.sign(&signerv1.SignRequest{KeyId: key.GetKeyId(), Digest: digest})
		c.r.rec.record(c.id, time.Since(from), err)
		if err == nil {
			c.r.check.take(signed{key: key, digest: digest, signature: res.GetSignature()})
			continue
		}
		if c.r.cfg.Recreate && status.Code(err) == codes.NotFound {
			c.recreate(key)
		}
		if c.r.cfg.Rate == 0 && !pause(ctx, failurePause) {
			return
		}
	}
}

// recreate creates the key again. Whether that succeeds is seen by the next call.
func (c *caller) recreate(key keyInfo) {
	ctx, cancel := context.WithTimeout(c.r.callContext(c.base, key.GetKeyId()), c.r.cfg.Timeout)
	defer cancel()
	_, _ = c.client.Create(ctx, &signerv1.CreateRequest{KeyId: key.GetKeyId(), Algorithm: key.GetAlgorithm()})
}

// key is the key of call n.
func (c *caller) key(n int) keyInfo {
	if c.stream != nil && c.r.cfg.CallContext != nil {
		n = 0
	}
	return c.r.keys[(c.id+n)%len(c.r.keys)]
}

// digest is the digest of call n, which no other call has.
func (c *caller) digest(n int) []byte {
	d := c.seed
	binary.BigEndian.PutUint64(d[:], binary.BigEndian.Uint64(d[:])+uint64(n))
	return d[:]
}

func (c *caller) sign(req *signerv1.SignRequest) (*signerv1.SignResponse, error) {
	if c.stream != nil {
		return c.stream.exchange(req)
	}
	ctx, cancel := context.WithTimeout(c.r.callContext(c.base, req.GetKeyId()), c.r.cfg.Timeout)
	defer cancel()
	return c.client.Sign(ctx, req)
}
