package faults

import (
	"fmt"
	"syscall"
	"time"
)

// stepClock sets the wall clock of this machine ahead, or back, and may only do so as root.
func stepClock(by time.Duration) error {
	at := syscall.NsecToTimeval(time.Now().Add(by).UnixNano())
	if err := syscall.Settimeofday(&at); err != nil {
		return fmt.Errorf("stepping the clock by %v: %w", by, err)
	}
	return nil
}
