package faults

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"
)

// fullness dials, and looks at how full the sockets' buffers are.
type fullness struct {
	attempts

	mu      sync.Mutex
	sockets map[string][]syscall.Conn // open or not, by target

	looks         int
	least, inRoom int
	err           error
}

func newFullness() *fullness { return &fullness{sockets: make(map[string][]syscall.Conn)} }

// dial is for pool.WithDialer.
func (f *fullness) dial(ctx context.Context, address string) (net.Conn, error) {
	c, err := f.attempts.dial(ctx, address)
	if b, ok := c.(interface{ SetWriteBuffer(bytes int) error }); ok {
		_ = b.SetWriteBuffer(buffer) // how full it is gets looked at
	}
	if s, ok := c.(syscall.Conn); ok && err == nil {
		f.mu.Lock()
		f.sockets[address] = append(f.sockets[address], s)
		f.mu.Unlock()
	}
	return c, err
}

// look remembers the least filled open socket to a target.
func (f *fullness) look(address string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.sockets[address] {
		raw, err := s.SyscallConn()
		if err != nil {
			continue
		}
		_ = raw.Control(func(fd uintptr) { // it fails for sockets that are closed, which are not meant
			n, err := queued(fd)
			size, err2 := room(fd)
			if err != nil || err2 != nil {
				f.err = fmt.Errorf("SIOCOUTQ: %w", err)
				return
			}
			if f.looks == 0 || n < f.least {
				f.least, f.inRoom = n, size
			}
			f.looks++
		})
	}
	f.sockets[address] = nil
}

// String says how full the emptiest buffer was.
func (f *fullness) String() string {
	if f.looks == 0 {
		return fmt.Sprintf("how full the buffers were could not be seen: %v", f.err)
	}
	return fmt.Sprintf("the emptiest of %d buffers of frozen sockets had %d KiB queued, of %d KiB allowed", f.looks, f.least>>10, f.inRoom>>10)
}
