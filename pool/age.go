package pool

import (
	"math/rand/v2"
	"time"
)

// A connection that is old is replaced while it still works: its successor is
// admitted first. How old is what Config.MaxConnAge says or, where the enclave
// has an age of its own, a little less than that: by the time that its GOAWAY
// arrives gRPC has stopped using the connection, and no successor could be
// there. So the first GOAWAY of that kind teaches the pool to come before it.

// goAwayAge is what grpc-go's server says when its MaxConnectionAge has passed.
const goAwayAge = "max_age"

// learnAge is called when the enclave has retired c for its age.
func (k *keeper) learnAge(c *conn, now time.Time) {
	// The server varies the age by a tenth either way, and so do we.
	age := c.age(now) * 4 / 5
	if age < time.Second || k.learntAge != 0 && k.learntAge <= age {
		return
	}
	k.learntAge = age
	k.e.log.Info("the enclave retires connections for their age; the pool replaces them before that", "age", age)
	for _, p := range k.places {
		if p.conn != nil {
			k.setRetirement(p.conn)
		}
	}
}

// setRetirement decides when c is to be replaced.
func (k *keeper) setRetirement(c *conn) {
	age := k.e.cfg.Load().maxConnAge
	if l := k.learntAge; l > 0 && (age == 0 || l < age) {
		age = l
	}
	if age > 0 {
		// Up to a tenth earlier, so that those opened together part ways.
		c.retireAt = c.openedAt.Add(age - time.Duration(rand.Int64N(int64(age)/10+1)))
	}
}
