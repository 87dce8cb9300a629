//go:build !linux

package faults

import (
	"errors"
	"time"
)

// stepClock is for the test VM, which is Linux.
func stepClock(time.Duration) error { return errors.ErrUnsupported }
