package pool_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

// injector is a client's connection into whose incoming bytes frames can be
// slipped, between two frames, as if the enclave had sent them: a gRPC server
// cannot be made to change its settings while it runs, or to reset streams.
type injector struct {
	net.Conn
	mu      sync.Mutex
	extra   []byte
	left    int    // bytes of the current frame still to come
	pending []byte // read, not yet handed on
}

func (c *injector) inject(frame []byte) {
	c.mu.Lock()
	c.extra = append(c.extra, frame...)
	c.mu.Unlock()
}

// Read hands on one header or a piece of one payload at a time.
func (c *injector) Read(p []byte) (int, error) {
	if len(c.pending) == 0 {
		if c.left > 0 {
			n, err := c.Conn.Read(p[:min(len(p), c.left)])
			c.left -= n
			return n, err
		}
		var header [9]byte
		if _, err := io.ReadFull(c.Conn, header[:]); err != nil {
			return 0, err
		}
		c.left = int(header[0])<<16 | int(header[1])<<8 | int(header[2])
		c.mu.Lock()
		c.pending = append(c.extra, header[:]...)
		c.extra = nil
		c.mu.Unlock()
	}
	n := copy(p, c.pending)
	c.pending = c.pending[n:]
	return n, nil
}

func settingsFrame(maxStreams uint32) []byte {
	f := []byte{0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3}
	return binary.BigEndian.AppendUint32(f, maxStreams)
}

func resetFrame(stream, code uint32) []byte {
	f := binary.BigEndian.AppendUint32([]byte{0, 0, 4, 3, 0}, stream)
	return binary.BigEndian.AppendUint32(f, code)
}

// injectors is a dialer to e that keeps its connections.
type injectors struct {
	mu  sync.Mutex
	all []*injector
}

func (i *injectors) dialer(e *pooltest.Enclave) pool.Option {
	dial := e.Dialer()
	return pool.WithDialer(func(ctx context.Context, target string) (net.Conn, error) {
		c, err := dial(ctx, target)
		if err != nil {
			return nil, err
		}
		in := &injector{Conn: c}
		i.mu.Lock()
		i.all = append(i.all, in)
		i.mu.Unlock()
		return in, nil
	})
}

func (i *injectors) inject(frame []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, c := range i.all {
		c.inject(frame)
	}
}

// forget keeps frames that are injected later from the connections there are.
func (i *injectors) forget() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.all = nil
}

func TestALimitLoweredUnderLoadFailsNoCallAndEjectsNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		svc := &service{}
		svc.seen = func(context.Context) { time.Sleep(time.Millisecond) }
		e := pooltest.NewMemory(t, svc.register, pooltest.WithMaxConcurrentStreams(100))
		cfg := config(e)
		cfg.MinConns, cfg.MaxConns = 4, 4
		var in injectors
		p := newPool(t, cfg, in.dialer(e))
		ready(t, p)

		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		var calls atomic.Int64
		for range 60 {
			wg.Go(func() {
				for ctx.Err() == nil {
					if _, err := client(p, "a").UnaryCall(context.WithoutCancel(ctx), &grpc_testing.SimpleRequest{}); err != nil {
						t.Errorf("call failed: %v", err)
						return
					}
					calls.Add(1)
				}
			})
		}
		time.Sleep(50 * time.Millisecond)
		if s := stats(p, "a"); s.InFlight < 50 || s.Waiters != 0 {
			t.Fatalf("before: %d in flight, %d waiting; want about 60, 0", s.InFlight, s.Waiters)
		}
		in.inject(settingsFrame(1))
		time.Sleep(20 * time.Millisecond)
		for range 100 {
			time.Sleep(time.Millisecond / 2)
			synctest.Wait()
			s := stats(p, "a")
			if s.Capacity != 4 || s.InFlight > 4 || int64(s.InFlight) < svc.running.Load() || s.Waiters < 50 {
				t.Fatalf("limit 1: capacity %d, %d in flight, %d at the enclave, %d waiting", s.Capacity, s.InFlight, svc.running.Load(), s.Waiters)
			}
			for _, c := range s.Connections {
				if c.AdvertisedLimit != 1 || c.Limit != 1 {
					t.Fatalf("connection %+v, want limits of 1", c)
				}
			}
		}
		in.inject(settingsFrame(31))
		time.Sleep(20 * time.Millisecond)
		if s := stats(p, "a"); s.Capacity != 120 || s.InFlight < 50 || s.Waiters != 0 {
			t.Errorf("limit 31: capacity %d, %d in flight; want 120, about 60", s.Capacity, s.InFlight)
		}
		stop()
		wg.Wait()
		if s := stats(p, "a"); s.Ejections != 0 || s.Dials != 4 || s.HealthyConns != 4 {
			t.Errorf("%d ejections, %d dials, %d Healthy; want 0, 4, 4", s.Ejections, s.Dials, s.HealthyConns)
		}
		t.Logf("%d calls", calls.Load())
	})
}

// A server that advertises 3 streams, and 4 callers on one connection: two are
// let in, two are seen to wait, and none is blocked inside gRPC.
func TestBeyondTheAdvertisedLimitCallersQueueWhereTheyAreSeen(t *testing.T) {
	bubble(t, func(t *testing.T) {
		svc := &service{hold: make(chan struct{})}
		e := pooltest.NewMemory(t, svc.register, pooltest.WithMaxConcurrentStreams(3))
		cfg := config(e)
		cfg.MinConns, cfg.MaxConns = 1, 1
		p := newPool(t, cfg, pool.WithDialer(e.Dialer()))
		ready(t, p)
		calls := make(chan error, 4)
		for range 4 {
			go func() {
				_, err := client(p, "a").UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
				calls <- err
			}()
		}
		synctest.Wait()
		if s := stats(p, "a"); s.InFlight != 2 || s.Waiters != 2 || svc.running.Load() != 2 {
			t.Errorf("%d in flight, %d waiting, %d at the enclave; want 2, 2, 2", s.InFlight, s.Waiters, svc.running.Load())
		}
		close(svc.hold)
		for range 4 {
			if err := <-calls; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestAFloodOfResetsIsCountedExactlyAndCostsNoConnection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		svc := &service{hold: make(chan struct{})}
		e := pooltest.NewMemory(t, svc.register)
		cfg := config(e)
		cfg.MinConns, cfg.MaxConns = 1, 1
		var in injectors
		p := newPool(t, cfg, in.dialer(e))
		ready(t, p)
		const n = 50
		calls := make(chan error, n)
		for range n {
			go func() {
				_, err := client(p, "a").UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
				calls <- err
			}()
		}
		synctest.Wait()
		flood := []byte{}
		for i := range uint32(n) {
			flood = append(flood, resetFrame(3+2*i, 2)...) // INTERNAL_ERROR; stream 1 was the health check
		}
		for i := range uint32(1000) {
			flood = append(flood, resetFrame(3+2*(i%n), 0)...) // NO_ERROR, on streams that are gone
		}
		in.inject(flood)
		// The next frame from the enclave brings them along.
		if _, err := client(p, "a").EmptyCall(t.Context(), &grpc_testing.Empty{}); err != nil {
			t.Fatal(err)
		}
		for range n {
			if err := <-calls; status.Code(err) != codes.Internal {
				t.Errorf("a reset call ended with %v, want Internal", err)
			}
		}
		if s := stats(p, "a"); s.StreamResets != n || s.Dials != 1 || s.HealthyConns != 1 || s.InFlight != 0 {
			t.Errorf("%d resets, %d dials, %d Healthy, %d in flight; want %d, 1, 1, 0", s.StreamResets, s.Dials, s.HealthyConns, s.InFlight, n)
		}
		close(svc.hold)
	})
}
