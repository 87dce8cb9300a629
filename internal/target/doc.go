// Package target reads the address of an enclave ("vsock:16:5000", "unix:/run/b.sock", "hvsock:///run/v.sock:5000",
// "localhost:8080") and opens one connection to it, or listens on it.
// It does not retry, does not speak HTTP/2 and keeps no state: one call to [Target.Dial] is one attempt, and
// [Retryable] says whether another is worth making.
// Start reading at [Parse], which lists the forms, then dial.go, then errors.go for what each failure means.
package target
