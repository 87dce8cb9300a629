package pool_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/enclavepool/enclavepool/pool"
)

func TestDrainAndResizeDoNotWaitForIdleStreams(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ss, p, e := warm(t, nil, nil, pool.WithMinStreams(20))
		synctest.Wait()
		start := time.Now()
		if err := p.Resize("a", 1, 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
		if n := e.Conns(); n != 1 {
			t.Errorf("%d connections after Resize to 1", n)
		}
		mustExchange(t, ss, "x")
		if err := p.Drain(within(t, patience), "a"); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d > 500*time.Millisecond {
			t.Errorf("took %v", d)
		}
		_, err := ss.Exchange(t.Context(), "a", value("x"))
		poolError(t, err, "a", pool.ErrDraining, codes.Unavailable)
		if s := warmStats(ss); s.Open != 0 {
			t.Errorf("drained: %+v", s)
		}
		if err := p.Resume("a"); err != nil {
			t.Fatal(err)
		}
		ready(t, p)
		mustExchange(t, ss, "x")
		time.Sleep(3 * time.Second)
		if s := warmStats(ss); s.Idle != 20 {
			t.Errorf("resumed: %+v", s)
		}
	})
}

func TestDrainTurnsWaitingCallersAwayAtOnceAndLetsExchangesFinish(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHolding()
		ss, p, _ := warm(t, h.answer, nil, pool.WithMinStreams(0), pool.WithMaxStreams(1))
		inFlight := goExchange(t.Context(), ss, "hold")
		synctest.Wait()
		waiting := goExchange(t.Context(), ss, "x")
		synctest.Wait()
		drained := make(chan error, 1)
		go func() { drained <- p.Drain(t.Context(), "a") }()
		r := <-waiting
		poolError(t, r.err, "a", pool.ErrDraining, codes.Unavailable)
		synctest.Wait()
		select {
		case err := <-drained:
			t.Fatalf("drained with an exchange in flight: %v", err)
		default:
		}
		close(h.hold)
		if r := <-inFlight; r.err != nil {
			t.Error(r.err)
		}
		if err := <-drained; err != nil {
			t.Error(err)
		}
	})
}

func TestCloseWaitsForExchangesThenResetsAndCountsThem(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHolding()
		ss, p, _ := warm(t, h.answer, nil, pool.WithMaxStreams(2), pool.WithMinStreams(0))
		a, b := goExchange(t.Context(), ss, "hold"), goExchange(t.Context(), ss, "hold")
		synctest.Wait()
		waiting := goExchange(t.Context(), ss, "x")
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		closed := make(chan error, 1)
		go func() { closed <- ss.Close(ctx) }()
		r := <-waiting
		poolError(t, r.err, "a", pool.ErrClosed, codes.Unavailable)
		err := <-closed
		poolError(t, err, "a", context.DeadlineExceeded, codes.DeadlineExceeded)
		for _, done := range []<-chan result{a, b} {
			r := <-done
			if e := poolError(t, r.err, "a", pool.ErrClosed, codes.Unavailable); e.Disposition != pool.Unknown {
				t.Errorf("disposition %v", e.Disposition)
			}
		}
		if err := ss.Close(t.Context()); err != nil {
			t.Errorf("the second Close: %v", err)
		}
		_, err = ss.Exchange(t.Context(), "a", value("x"))
		poolError(t, err, "a", pool.ErrClosed, codes.Unavailable)
		synctest.Wait()
		if n := stats(p, "a").InFlight; n != 0 {
			t.Errorf("%d slots in use", n)
		}
		if _, err := client(p, "a").EmptyCall(t.Context(), &grpc_testing.Empty{}); err != nil {
			t.Errorf("the pool does not go on: %v", err)
		}
	})
}

func TestClosingThePoolClosesItsStreams(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHolding()
		ss, p, _ := warm(t, h.answer, nil)
		inFlight := goExchange(t.Context(), ss, "hold")
		synctest.Wait()
		time.AfterFunc(time.Second, func() { close(h.hold) })
		start := time.Now()
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d < time.Second || d > 1100*time.Millisecond {
			t.Errorf("Close took %v, the exchange in flight 1s", d)
		}
		if r := <-inFlight; r.err != nil {
			t.Error(r.err)
		}
		_, err := ss.Acquire(t.Context(), "a")
		poolError(t, err, "a", pool.ErrClosed, codes.Unavailable)
		if err := ss.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if s := warmStats(ss); s.Open != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestADrainDoesNotWaitForAStreamInACallersHandsLongerThanItsExchange(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHolding()
		ss, p, _ := warm(t, h.answer, nil)
		s, err := ss.Acquire(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		defer s.Release()
		done := make(chan error, 1)
		go func() { _, err := s.Exchange(t.Context(), value("hold")); done <- err }()
		synctest.Wait()
		drained := make(chan error, 1)
		go func() { drained <- p.Drain(within(t, patience), "a") }()
		synctest.Wait()
		close(h.hold)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := <-drained; err != nil {
			t.Error(err)
		}
		_, err = s.Exchange(t.Context(), value("x"))
		poolError(t, err, "a", pool.ErrDraining, codes.Unavailable)
		if err := p.Resume("a"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Exchange(t.Context(), value("x")); err != nil {
			t.Errorf("resumed: %v", err)
		}
	})
}
