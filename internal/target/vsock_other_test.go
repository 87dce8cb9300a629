//go:build !linux

package target

import (
	"errors"
	"testing"
)

func TestVsockNeedsLinux(t *testing.T) {
	_, err := mustParse(t, "vsock:16:5000").Dial(t.Context())
	if !errors.Is(err, ErrVsockUnsupported) || !errors.Is(err, errors.ErrUnsupported) || Retryable(err) {
		t.Errorf("dial: %v", err)
	}
	if _, err := mustParse(t, "vsock:16:5000").Listen(); !errors.Is(err, ErrVsockUnsupported) {
		t.Errorf("listen: %v", err)
	}
	if _, err := mustParse(t, "unix-abstract:b").Dial(t.Context()); !errors.Is(err, errAbstractUnsupported) || Retryable(err) {
		t.Errorf("abstract: %v", err)
	}
}
