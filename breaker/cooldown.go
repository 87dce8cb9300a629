package breaker

import "time"

// Cooldown is how long something that was taken out of service rests before it
// is tried again: Base at first, twice as long each time that it is taken out
// again soon after it came back, up to 8 times Base. Having been in service for
// 8 times its last rest without a trip makes it start from Base again.
//
// The zero value rests for 0. A Cooldown is not safe for concurrent use.
type Cooldown struct {
	// Base is the first rest.
	Base time.Duration

	strikes uint
	tripped bool
	back    time.Time // when it came back into service; zero: it has never been out
}

// maxStrikes is how often the rest doubles.
const maxStrikes = 3

// Trip says that it was taken out of service at now, and returns the rest. now
// must carry a monotonic reading, as time.Now's does.
func (c *Cooldown) Trip(now time.Time) time.Duration {
	switch {
	case c.back.IsZero():
	case now.Sub(c.back) >= (c.Base<<c.strikes)*8:
		c.strikes = 0
	default:
		c.strikes = min(c.strikes+1, maxStrikes)
	}
	c.tripped = true
	return c.Base << c.strikes
}

// Back says that it came back into service at now; before the first Trip it
// does nothing.
func (c *Cooldown) Back(now time.Time) {
	if c.tripped {
		c.back = now
	}
}
