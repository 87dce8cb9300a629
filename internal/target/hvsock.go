package target

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// maxOKLine bounds the hypervisor's answer in bytes, newline included. The longest valid one is "OK 4294967295\n".
const maxOKLine = 32

// connectGuest asks the hypervisor behind conn for a connection to a port of its guest, as described in Firecracker's
// docs/vsock.md. When ctx ends it returns ctx's error. The caller closes conn on error.
func connectGuest(ctx context.Context, conn net.Conn, port uint32) error {
	// The context alone decides how long this may take. A deadline on conn copied from it would fire a little
	// before the context does, and the error would then not say whose it was.
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		conn.SetDeadline(time.Unix(1, 0)) // in the past: unblocks Read and Write
		close(interrupted)
	})
	err := exchangeConnect(conn, port)
	if !stop() {
		<-interrupted // or it would set a deadline on a connection given away
		return ctx.Err()
	}
	return err
}

func exchangeConnect(conn io.ReadWriter, port uint32) error {
	if _, err := io.WriteString(conn, "CONNECT "+strconv.FormatUint(uint64(port), 10)+"\n"); err != nil {
		return fmt.Errorf("writing CONNECT: %w", err)
	}
	line, err := readOKLine(conn)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return fmt.Errorf("%w: %w", errNoAnswer, err)
	case err != nil:
		return fmt.Errorf("reading the answer to CONNECT: %w", err)
	}
	number, ok := strings.CutPrefix(line, "OK ")
	if _, reason := decimal(number); !ok || reason != "" {
		return fmt.Errorf("%w: got %q", ErrNotHybridVsock, line)
	}
	return nil
}

// readOKLine reads up to the first newline and returns what came before it. It takes one byte at a time: the guest's
// first bytes (an HTTP/2 server speaks unasked) may sit right behind the newline, in the same segment, and belong to
// whoever reads the connection next.
func readOKLine(r io.Reader) (string, error) {
	var line [maxOKLine]byte
	for n := 0; n < len(line); n++ {
		if _, err := io.ReadFull(r, line[n:n+1]); err != nil {
			return "", err
		}
		if line[n] == '\n' {
			return string(line[:n]), nil
		}
	}
	return "", fmt.Errorf("%w: %q goes on after %d bytes", ErrNotHybridVsock, line[:], len(line))
}
