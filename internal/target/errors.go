package target

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

// ErrVsockUnsupported is returned for vsock targets on systems other than Linux. It wraps [errors.ErrUnsupported].
var ErrVsockUnsupported = fmt.Errorf("AF_VSOCK needs Linux: %w", errors.ErrUnsupported)

// ErrNotHybridVsock is returned when what listens on the socket of an hvsock target answers CONNECT with something
// other than OK: it is not a hypervisor's vsock socket, and trying again will not make it one.
var ErrNotHybridVsock = errors.New("the answer to CONNECT is not OK and a port")

// errNoAnswer is the cause when the hypervisor closes the socket instead of answering CONNECT.
var errNoAnswer = errors.New("connection closed before OK")

var errZeroTarget = errors.New("the zero Target is no address")

// What a DialError was doing.
const (
	opDial      = "dial"
	opHandshake = "handshake"
	opListen    = "listen"
)

// DialError is the error of [Target.Dial] and [Target.Listen]. It is a [net.Error].
type DialError struct {
	Target string // canonical form
	Op     string // "dial", "handshake" (the CONNECT exchange of hvsock) or "listen"
	Err    error  // the cause; errors.Is finds the errno and context errors in it
	Hint   string // what it usually means and what to check; empty when nothing more is known
}

func (e *DialError) Error() string {
	text := e.Op + " " + e.Target + ": " + meaning(e.Err)
	if e.Hint != "" {
		text += ": " + e.Hint
	}
	return text
}

// Unwrap returns the cause.
func (e *DialError) Unwrap() error { return e.Err }

// Timeout reports whether time ran out: the context's deadline or the kernel's own (2 s for vsock).
func (e *DialError) Timeout() bool {
	if errors.Is(e.Err, context.DeadlineExceeded) || errors.Is(e.Err, syscall.ETIMEDOUT) {
		return true
	}
	if errors.Is(e.Err, syscall.EAGAIN) {
		return false // a full listen queue refuses at once, though the syscall package counts EAGAIN as a timeout
	}
	ne, ok := errors.AsType[net.Error](e.Err)
	return ok && ne.Timeout()
}

// Temporary reports whether another attempt is worth making; see [Retryable].
func (e *DialError) Temporary() bool { return Retryable(e) }

// meaning is the errno in words where there is one, since the layers around it only repeat the address, and the
// whole error otherwise. The failed system call stays: EPERM from socket and from connect have different remedies.
func meaning(err error) string {
	if sys, ok := errors.AsType[*os.SyscallError](err); ok {
		return sys.Error()
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Err.Error()
	}
	return err.Error()
}

// Retryable reports whether another attempt may succeed without anybody changing the configuration. All the ways in
// which an enclave or its socket can be absent, booting, hung or gone are one class and are retryable: with vsock the
// same dead guest shows as ECONNRESET, ENODEV or ETIMEDOUT depending on the moment. So is an error not known here,
// and so are a deadline that passed and EACCES on a socket file (a proxy that has yet to change its mode). Not retryable
// are nil, [context.Canceled], a [ParseError], EPERM, a denied socket call, EAFNOSUPPORT, [ErrVsockUnsupported] and
// [ErrNotHybridVsock].
func Retryable(err error) bool {
	switch {
	case err == nil,
		errors.Is(err, context.Canceled),
		errors.Is(err, errors.ErrUnsupported),
		errors.Is(err, ErrNotHybridVsock),
		errors.Is(err, errZeroTarget):
		return false
	}
	if _, ok := errors.AsType[*ParseError](err); ok {
		return false
	}
	errno, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return true
	}
	switch errno {
	case syscall.EPERM, syscall.EAFNOSUPPORT, syscall.EPROTONOSUPPORT:
		return false
	case syscall.EACCES:
		return !fromSocketCall(err)
	}
	return true
}

// fromSocketCall reports whether err comes from socket(2), before any address was involved.
func fromSocketCall(err error) bool {
	sys, ok := errors.AsType[*os.SyscallError](err)
	return ok && sys.Syscall == "socket"
}
