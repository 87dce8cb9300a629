package pool

import (
	"math/rand/v2"
	"time"

	"github.com/enclavepool/enclavepool/breaker"
)

// A connection that is old, or that the enclave is about to close, is replaced
// while it still works: its successor is admitted first. What the enclave says
// about it, a GOAWAY that refuses no call yet, is kept from gRPC meanwhile (see
// package h2tap), because gRPC stops using the connection at that word.

// setRetirement decides when c is to be replaced.
func (k *keeper) setRetirement(c *conn) {
	if c.warned {
		return // as soon as possible
	}
	if age := k.e.cfg.Load().maxConnAge; age > 0 {
		// Up to a tenth earlier, so that those opened together part ways.
		c.retireAt = c.openedAt.Add(age - time.Duration(rand.Int64N(int64(age)/10+1)))
	} else {
		c.retireAt = time.Time{}
	}
}

// warned has c replaced, which the enclave is about to close.
func (k *keeper) warned(c *conn, now time.Time) {
	p := c.place
	if c != p.conn || k.held {
		c.release() // it leaves anyway, or nothing may come in its place
		return
	}
	c.warned, c.retireAt = true, now
	if p.attempt == nil {
		// An enclave that warns at once must not be dialled without pause.
		p.next = now.Add(k.planRedial(p, c, breaker.Lost, now))
	}
}

// letGo gives up the hope for successors, as nobody listens any more: an enclave
// that stops waits for what it has said to be heard.
func (k *keeper) letGo() {
	for _, p := range k.places {
		if p.conn != nil && p.conn.warned {
			p.conn.release()
		}
	}
}
