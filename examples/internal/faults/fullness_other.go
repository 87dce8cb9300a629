//go:build !linux

package faults

import "errors"

func queued(uintptr) (int, error) { return 0, errors.ErrUnsupported }

func room(uintptr) (int, error) { return 0, errors.ErrUnsupported }
