package stack

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/enclavepool/enclavepool/internal/target"
)

// vsockEnv says "required" where AF_VSOCK has to be there and to be used.
const vsockEnv = "ENCLAVEPOOL_VSOCK"

// Transport is how the gateway reaches the enclaves.
type Transport string

const (
	// Vsock is AF_VSOCK within this machine (CID 1).
	Vsock Transport = "vsock"
	// Unix is unix sockets.
	Unix Transport = "unix"
)

// Known tells whether t is one of them.
func (t Transport) Known() bool { return t == Vsock || t == Unix }

// vsockPatience bounds the attempt to connect to ourselves.
const vsockPatience = 5 * time.Second

// Choose returns Vsock when this machine can open an AF_VSOCK connection to itself, and Unix otherwise, with the reason
// in words. With ENCLAVEPOOL_VSOCK=required the lack of AF_VSOCK is an error.
func Choose(ctx context.Context) (Transport, string, error) {
	err := tryVsock(ctx)
	switch {
	case err == nil:
		return Vsock, "this machine has an AF_VSOCK loopback", nil
	case os.Getenv(vsockEnv) == "required":
		return "", "", fmt.Errorf("%s=required: %w", vsockEnv, err)
	}
	return Unix, "this machine has no AF_VSOCK loopback (" + cause(err) + ")", nil
}

// tryVsock opens a connection to a listener of our own.
func tryVsock(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, vsockPatience)
	defer cancel()
	t, err := target.Parse(Vsock.Address("", ""))
	if err != nil {
		return err
	}
	lis, err := t.Listen()
	if err != nil {
		return err
	}
	defer lis.Close()
	conn, err := t.Dial(ctx)
	if err != nil {
		return err
	}
	return conn.Close()
}

// cause is the innermost error, such as "address family not supported by protocol": which listener of ours met it is
// of no interest.
func cause(err error) string {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err.Error()
		}
		err = next
	}
}

// Address draws a target for an enclave whose socket, if it gets one, is in dir.
func (t Transport) Address(dir, id string) string {
	if t == Vsock {
		// Ports are 32 bits, so a random one is free.
		return fmt.Sprintf("vsock:1:%d", 1<<20+rand.Uint32N(1<<30))
	}
	return "unix:" + filepath.Join(dir, id+".sock")
}
