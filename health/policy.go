package health

import (
	"time"

	"github.com/enclavepool/enclavepool/internal/field"
)

// Policy is how a connection's health is found out. The zero value is not
// valid; start from DefaultPolicy.
type Policy struct {
	// Interval is how long a connection may be silent before it is probed.
	// Bytes that arrive within it are proof of life and save the probe.
	// Default 1s; at least 10ms.
	Interval time.Duration
	// Timeout is how long a probe may take. Default 50ms; at least 1ms.
	Timeout time.Duration
	// FailureThreshold is how many conclusive failures in a row make a
	// connection Degraded. Default 3; at least 1.
	FailureThreshold int
	// Cooldown is how long a Degraded connection rests before it is tried
	// again. Default 1s; 0 or more. One that becomes Degraded again soon after
	// it came back rests twice as long each time, up to 8 times Cooldown: see
	// breaker.Cooldown.
	Cooldown time.Duration
	// Disabled turns probing off, the one before a connection is admitted
	// included.
	Disabled bool
}

// DefaultPolicy returns a probe after 1s of silence, 50ms for it, 3 failures
// and 1s of cooldown.
func DefaultPolicy() Policy {
	return Policy{
		Interval:         time.Second,
		Timeout:          50 * time.Millisecond,
		FailureThreshold: 3,
		Cooldown:         time.Second,
	}
}

// Validate returns nil, or errors.Join of a *field.Error for every bad field. A
// disabled policy is valid whatever its other fields say.
func (p Policy) Validate() error {
	if p.Disabled {
		return nil
	}
	var c field.Checks
	c.That(p.Interval >= 10*time.Millisecond, "Interval", p.Interval, "at least 10ms")
	c.That(p.Timeout >= time.Millisecond, "Timeout", p.Timeout, "at least 1ms")
	c.That(p.FailureThreshold >= 1, "FailureThreshold", p.FailureThreshold, "at least 1")
	c.That(p.Cooldown >= 0, "Cooldown", p.Cooldown, "0 or more")
	return c.Err()
}
