package breaker

import (
	"math"
	"time"
)

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

const (
	// maxStrikes is how often the rest doubles.
	maxStrikes = 3
	// held is how many times its last rest something has to be in service to
	// start from Base again.
	held = 8
	// longest is the Base that stands in for any longer one, so that nothing
	// overflows: 4 years.
	longest = math.MaxInt64 / (held << maxStrikes)
)

// rest is how long it rests for as many trips as there were.
func (c *Cooldown) rest() time.Duration { return min(c.Base, longest) << c.strikes }

// Trip says that it was taken out of service at now, and returns the rest. now
// must carry a monotonic reading, as time.Now's does.
func (c *Cooldown) Trip(now time.Time) time.Duration {
	switch {
	case c.back.IsZero():
	case now.Sub(c.back) >= held*c.rest():
		c.strikes = 0
	default:
		c.strikes = min(c.strikes+1, maxStrikes)
	}
	c.tripped = true
	return c.rest()
}

// Back says that it came back into service at now; before the first Trip it
// does nothing.
func (c *Cooldown) Back(now time.Time) {
	if c.tripped {
		c.back = now
	}
}
