package pool_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

// TestConnPoolRace lets callers of every kind loose on three enclaves whose
// connections break all the time. What fails has to fail in one of the ways
// that are documented, and when all is quiet no slot may be missing.
func TestConnPoolRace(t *testing.T) {
	const (
		callers  = 48
		duration = 3 * time.Second
	)
	ids := []string{"a", "b", "c"}
	var enclaves []*pooltest.Enclave
	for range ids {
		enclaves = append(enclaves, pooltest.Start(t, (&service{}).register))
	}
	cfg := socketConfig(enclaves...)
	cfg.MaxConns, cfg.MaxConcurrentStreams = 2, 4 // 8 slots for 16 callers: they queue
	p := newPool(t, cfg)
	ready(t, p)

	ctx, cancel := context.WithTimeout(t.Context(), duration)
	defer cancel()
	var succeeded, failed atomic.Int64
	check := func(what string, err error) {
		if err == nil {
			succeeded.Add(1)
			return
		}
		failed.Add(1)
		var e *pool.Error
		known := errors.As(err, &e) && (errors.Is(err, pool.ErrUnavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded))
		switch code := status.Code(err); {
		case known:
		case code == codes.Canceled, code == codes.DeadlineExceeded: // the caller's doing, as gRPC reports it
		default:
			t.Errorf("%s: %v", what, err)
		}
	}

	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for ctx.Err() == nil {
				raceOnce(ctx, p, ids[rand.IntN(len(ids))], check)
			}
		})
	}
	all.Go(func() { // somebody looks on
		for ctx.Err() == nil {
			for id, s := range p.Stats().Enclaves {
				if s.InFlight < 0 || s.Waiters < 0 {
					t.Errorf("%s: InFlight %d, Waiters %d", id, s.InFlight, s.Waiters)
				}
				for _, c := range s.Connections {
					if c.InFlight > 4 {
						t.Errorf("%s: connection %d has %d in flight; its limit is 4", id, c.Index, c.InFlight)
					}
				}
			}
			rest(ctx, time.Millisecond)
		}
	})
	dropped := 0
	for ctx.Err() == nil {
		rest(ctx, time.Duration(rand.IntN(20))*time.Millisecond)
		e := enclaves[rand.IntN(len(enclaves))]
		if rand.IntN(20) == 0 {
			e.Restart()
			continue
		}
		dropped += e.DropConns(1 + rand.IntN(2))
	}
	all.Wait()

	ready(t, p)
	for _, id := range ids {
		eventually(t, "nothing in flight on "+id, func() bool {
			s := stats(p, id)
			return s.InFlight == 0 && s.Waiters == 0 && s.HealthyConns == 2
		})
		checkFree(t, p, id, 8)
	}
	t.Logf("%d calls succeeded, %d failed, %d connections dropped", succeeded.Load(), failed.Load(), dropped)
	if succeeded.Load() == 0 || dropped == 0 {
		t.Error("nothing happened")
	}
	if err := p.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// rest waits for d or the end of ctx.
func rest(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// raceOnce does one of the things that callers do, some of them carelessly.
func raceOnce(ctx context.Context, p *pool.Pool, id string, check func(string, error)) {
	c := client(p, id)
	short, cancel := context.WithTimeout(ctx, time.Duration(1+rand.IntN(50))*time.Millisecond)
	defer cancel()
	switch rand.IntN(7) {
	case 0:
		_, err := c.UnaryCall(ctx, &grpc_testing.SimpleRequest{Payload: body(32)})
		check("unary", err)
	case 1:
		_, err := c.UnaryCall(short, &grpc_testing.SimpleRequest{Payload: body(32)})
		check("short unary", err)
	case 2: // a lease and several calls
		l, err := p.Acquire(short, id)
		check("acquire", err)
		if err != nil {
			return
		}
		defer l.Release()
		for range 3 {
			_, err := grpc_testing.NewTestServiceClient(l).EmptyCall(ctx, &grpc_testing.Empty{})
			check("lease", err)
		}
	case 3: // a lease released under an open stream, from another goroutine
		l, err := p.Acquire(ctx, id)
		check("acquire", err)
		if err != nil {
			return
		}
		released := make(chan struct{})
		s, err := grpc_testing.NewTestServiceClient(l).FullDuplexCall(short)
		go func() { l.Release(); close(released) }()
		if err == nil {
			_ = s.Send(message("x")) // its error is RecvMsg's to tell
			_, err = s.Recv()
		}
		check("stream on a lease", err)
		cancel()
		<-released
	case 4: // a stream that is abandoned
		s, err := c.FullDuplexCall(short)
		check("abandoned stream", err)
		if err == nil {
			_ = s.Send(message("x")) // nobody will look
		}
	case 5: // a stream read to its end
		s, err := c.StreamingOutputCall(ctx, &grpc_testing.StreamingOutputCallRequest{ResponseParameters: []*grpc_testing.ResponseParameters{{Size: 10}}})
		for err == nil {
			_, err = s.Recv()
		}
		if err.Error() == "EOF" {
			err = nil
		}
		check("stream", err)
	case 6: // cancelled at any moment
		go func() {
			rest(short, time.Duration(rand.IntN(2000))*time.Microsecond)
			cancel()
		}()
		_, err := c.UnaryCall(short, &grpc_testing.SimpleRequest{})
		check("cancelled unary", err)
	}
}
