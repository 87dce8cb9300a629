package gateway

import (
	"context"
	"crypto/rand"
	"time"

	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
	"github.com/enclavepool/enclavepool/pool"
)

// serviceConfig lets gRPC repeat calls that came back UNAVAILABLE, on another connection of the same enclave. Both
// methods may be: signatures are deterministic, and the gateway gives every key its name before it asks for it.
// The throttling keeps the repetitions to a tenth of the calls while an enclave is in trouble.
const serviceConfig = `{
	"methodConfig": [{
		"name": [
			{"service": "signer.v1.SignerService", "method": "Create"},
			{"service": "signer.v1.SignerService", "method": "Sign"}
		],
		"retryPolicy": {
			"maxAttempts": 3, "initialBackoff": "0.005s", "maxBackoff": "0.05s", "backoffMultiplier": 2,
			"retryableStatusCodes": ["UNAVAILABLE"]
		}
	}],
	"retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1}
}`

// backend passes calls to the enclaves. Its errors are failures.
type backend struct {
	pool   *pool.Pool
	router Router
	budget *budget // of the repetitions on streams
	// requestTimeout is for exchanges that bring no time-out, maxTimeout the longest that any may have.
	requestTimeout, maxTimeout time.Duration
}

func (b *backend) client(enclaveID string) signerv1.SignerServiceClient {
	return signerv1.NewSignerServiceClient(b.pool.Conn(enclaveID))
}

// create makes a key in the enclave that its name leads to.
func (b *backend) create(ctx context.Context, req *signerv1.CreateRequest) (*signerv1.CreateResponse, error) {
	named, idempotent := naming(req)
	enclaveID := b.router.Route(named.GetKeyId())
	res, err := b.client(enclaveID).Create(ctx, named)
	return res, fail(err, enclaveID, idempotent)
}

// sign signs in the enclave that has the key, and says which one that is.
func (b *backend) sign(ctx context.Context, req *signerv1.SignRequest) (*signerv1.SignResponse, string, error) {
	enclaveID := b.router.Route(req.GetKeyId())
	res, err := b.client(enclaveID).Sign(ctx, req)
	return res, enclaveID, fail(err, enclaveID, true)
}

// naming gives a key without a name one. Only a caller who chose the name itself can ask for the same key again.
func naming(req *signerv1.CreateRequest) (named *signerv1.CreateRequest, idempotent bool) {
	if req.GetKeyId() != "" {
		return req, true
	}
	return &signerv1.CreateRequest{KeyId: rand.Text(), Algorithm: req.GetAlgorithm()}, false
}
