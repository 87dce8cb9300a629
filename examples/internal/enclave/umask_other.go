//go:build !unix

package enclave

// narrowUmask does nothing: there is no umask here.
func narrowUmask() (restore func()) { return func() {} }
