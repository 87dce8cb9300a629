package pool

import "time"

// A process that gets no processor for a while, or is stopped and continued,
// finds all its timers passed at once, and what the enclave has sent unread.
// That time is not the enclave's: an attempt gets it on top of DialTimeout, and
// callers wait so much longer than Reconnect.Budget. While one of these runs
// the keeper looks at the clock every pulse, and how late it is for that is how
// long the process stood still.
const (
	pulse   = 10 * time.Millisecond
	standby = 10 * time.Millisecond // being late by less is ordinary
)

// stepStall moves what a stall would end. It comes before the steps that look
// at these times.
func (k *keeper) stepStall(now time.Time) {
	late := now.Sub(k.pulseAt)
	if k.pulseAt.IsZero() || late < standby {
		return
	}
	for _, p := range k.places {
		if p.attempt != nil {
			p.attempt.deadline = p.attempt.deadline.Add(late)
		}
	}
	k.outage.stalled += late
}

// stepPulse sets the next pulse if one is needed.
func (k *keeper) stepPulse(now time.Time, next *alarm) {
	k.pulseAt = time.Time{}
	needed := !k.outage.since.IsZero() && !k.outage.spent && !k.held
	for _, p := range k.places {
		needed = needed || p.attempt != nil
	}
	if needed {
		k.pulseAt = now.Add(pulse)
		next.no(k.pulseAt)
	}
}
