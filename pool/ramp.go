package pool

import "time"

// An enclave that is back after a total loss gets its load in steps, so that
// all who waited do not fall on it at once: an eighth of every connection's
// limit, doubled every rampPause. The rest queues, in order and in the open.
const (
	rampSteps = 3
	rampPause = 100 * time.Millisecond
)

// startRamp is called before the first caller is let in again.
func (k *keeper) startRamp(now time.Time) {
	k.rampAt = now.Add(rampPause)
	k.setRamp(rampSteps)
}

// stepRamp doubles the limits when their time has come.
func (k *keeper) stepRamp(now time.Time, next *alarm) {
	if k.rampAt.IsZero() {
		return
	}
	if !now.Before(k.rampAt) {
		k.rampAt = now.Add(rampPause)
		steps := k.e.ramp.Load() - 1
		k.setRamp(steps)
		k.e.serve()
		if steps <= 0 {
			k.rampAt = time.Time{}
			return
		}
	}
	next.no(k.rampAt)
}

// setRamp halves every connection's limit that many times.
func (k *keeper) setRamp(steps int32) {
	k.e.ramp.Store(max(steps, 0))
	for _, c := range *k.e.admitted.Load() {
		c.mu.Lock()
		if c.admits {
			c.slots.setLimit(c.limitLocked())
		}
		c.mu.Unlock()
	}
	k.e.kickWarm() // idle streams may be over the limit now
}
