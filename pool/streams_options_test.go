package pool_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

func TestBadOptionsAreNamedByEveryAcquireAndExchange(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, p, _ := warm(t, nil, nil)
		for field, ss := range map[string]*warmStreams{
			"WithMinStreams":        pool.NewStreams(p, pooltest.OpenExchange, pool.WithMinStreams(5), pool.WithMaxStreams(4)),
			"WithMaxStreams":        pool.NewStreams(p, pooltest.OpenExchange, pool.WithMinStreams(0), pool.WithMaxStreams(0)),
			"WithStreamIdleTimeout": pool.NewStreams(p, pooltest.OpenExchange, pool.WithStreamIdleTimeout(-1)),
			"WithMaxExchanges":      pool.NewStreams(p, pooltest.OpenExchange, pool.WithMaxExchanges(-1)),
			"open":                  pool.NewStreams[bytesValue, bytesValue](p, nil),
			"p":                     pool.NewStreams(nil, pooltest.OpenExchange),
		} {
			_, err := ss.Acquire(t.Context(), "a")
			poolError(t, err, "a", pool.ErrConfig, codes.InvalidArgument)
			var bad *pool.FieldError
			if !errors.As(err, &bad) || bad.Field != field {
				t.Errorf("%s: %v", field, err)
			}
			if _, err := ss.Exchange(t.Context(), "a", value("x")); !errors.Is(err, pool.ErrConfig) {
				t.Errorf("%s: Exchange: %v", field, err)
			}
			if err := ss.Close(t.Context()); err != nil || len(ss.Stats()) != 0 {
				t.Errorf("%s: Close: %v, %v", field, err, ss.Stats())
			}
		}
	})
}

func TestWhatOpenReturnsIsReturned(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, p, _ := warm(t, nil, nil)
		mine := errors.New("mine")
		ss := pool.NewStreams(p, func(context.Context, grpc.ClientConnInterface) (grpc.BidiStreamingClient[bytesValue, bytesValue], error) {
			return nil, mine
		})
		if _, err := ss.Acquire(t.Context(), "a"); err != mine {
			t.Errorf("open failed, and Acquire says %v", err)
		}
		ss = pool.NewStreams(p, func(context.Context, grpc.ClientConnInterface) (grpc.BidiStreamingClient[bytesValue, bytesValue], error) {
			return nil, nil
		})
		_, err := ss.Exchange(t.Context(), "a", value("x"))
		poolError(t, err, "a", pool.ErrConfig, codes.InvalidArgument)
		_, err = ss.Exchange(t.Context(), "b", value("x"))
		poolError(t, err, "b", pool.ErrUnknownEnclave, codes.NotFound)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := stats(p, "a").InFlight; n > 16 {
			t.Errorf("%d slots are held, some of them for streams that were never opened", n)
		}
	})
}

func TestAStreamIsClosedAfterItsLastExchange(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ss, _, _ := warm(t, nil, nil, pool.WithMinStreams(1), pool.WithMaxStreams(1), pool.WithMaxExchanges(5))
		for i := range 20 {
			mustExchange(t, ss, fmt.Sprint(i))
		}
		if s := warmStats(ss); s.Retired != 4 || s.Exchanges != 20 {
			t.Errorf("%+v, want 4 of 5 streams retired", s)
		}
	})
}

func TestStreamsBeyondTheMinimumAreClosedWhenTheyAreNotUsed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHolding()
		ss, _, _ := warm(t, h.answer, nil, pool.WithMinStreams(2), pool.WithStreamIdleTimeout(time.Minute))
		var all []<-chan result
		for range 20 {
			all = append(all, goExchange(t.Context(), ss, "hold"))
		}
		synctest.Wait()
		close(h.hold)
		for _, done := range all {
			if r := <-done; r.err != nil {
				t.Fatal(r.err)
			}
		}
		if s := warmStats(ss); s.Open < 20 {
			t.Fatalf("%+v", s)
		}
		for range 150 {
			mustExchange(t, ss, "x")
			time.Sleep(time.Second)
		}
		if s := warmStats(ss); s.Open != 2 || s.Idle != 2 {
			t.Errorf("after two and a half minutes: %+v, want the minimum", s)
		}
	})
}

func TestAStreamInACallersHandsIsReplacedAfterItsLastExchange(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ss, _, _ := warm(t, nil, nil, pool.WithMinStreams(0), pool.WithMaxExchanges(2))
		s, err := ss.Acquire(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			if _, err := s.Exchange(t.Context(), value(fmt.Sprint(i))); err != nil {
				t.Fatal(err)
			}
		}
		s.Release()
		if s := warmStats(ss); s.Opened != 3 || s.Retired != 2 || s.Idle != 1 {
			t.Errorf("%+v", s)
		}
	})
}
