//go:build unix

package enclave

import "syscall"

// narrowUmask makes new files accessible to their owner only, until the function it returns is called.
func narrowUmask() (restore func()) {
	old := syscall.Umask(0o177)
	return func() { syscall.Umask(old) }
}
