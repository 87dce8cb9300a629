package gateway

import "sync"

// budget bounds how many exchanges are repeated, by the rule that gRPC has for unary calls (gRFC A6, "throttling
// retry attempts"): a failure takes a token, a success gives a tenth of one back, and nothing is repeated while half
// of the tokens or more are gone. So an enclave in trouble gets a tenth more than its load, not twice as much.
type budget struct {
	mu   sync.Mutex
	lost float64 // tokens that are gone, 0 to budgetTokens
}

const (
	budgetTokens = 100
	budgetRefund = 0.1
)

// succeeded notes an exchange that worked.
func (b *budget) succeeded() {
	b.mu.Lock()
	b.lost = max(0, b.lost-budgetRefund)
	b.mu.Unlock()
}

// failed notes one whose stream broke, and tells whether it may be repeated.
func (b *budget) failed() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lost = min(budgetTokens, b.lost+1)
	return b.lost < budgetTokens/2
}
