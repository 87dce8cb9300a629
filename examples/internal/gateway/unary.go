package gateway

import (
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/routing"
)

// unaryConfig lets gRPC repeat unary calls that came back UNAVAILABLE, on another connection of the same enclave. Both
// methods may be: signatures are deterministic, and the gateway gives every key its name before it asks for it.
// The throttling keeps the repetitions to a tenth of the calls while an enclave is in trouble.
//
// Exchanges on warm streams go without: the pool then knows better which of them an enclave refused.
const unaryConfig = `{
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

// newUnary carries each request as a call of its own.
func newUnary(p *pool.Pool, s routing.Selector) carrier {
	return signerv1.NewSignerServiceClient(p.Routed(s))
}
