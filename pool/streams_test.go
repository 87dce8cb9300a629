package pool_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

func TestTheMinimumOfStreamsIsOpenBeforeAnybodyAsksAndOneMoreWhenTheLastIsTaken(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ss, p, _ := warm(t, nil, nil, pool.WithMinStreams(3))
		synctest.Wait()
		if s := warmStats(ss); s.Open != 3 || s.Idle != 3 || s.Opened != 3 {
			t.Fatalf("at the start: %+v", s)
		}
		if n := stats(p, "a").InFlight; n != 3 {
			t.Errorf("the pool counts %d slots in use, want those of the 3 streams", n)
		}
		for i := range 3 {
			s, err := ss.Acquire(t.Context(), "a")
			if err != nil {
				t.Fatal(i, err)
			}
			defer s.Release()
		}
		synctest.Wait()
		if s := warmStats(ss); s.Open != 4 || s.Idle != 1 || s.Busy != 3 {
			t.Errorf("with three taken: %+v", s)
		}
	})
}

func TestStreamsAreSpreadOverTheConnections(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, p, _ := warm(t, nil, func(cfg *pool.Config) { cfg.MinConns = 4 }, pool.WithMinStreams(40))
		synctest.Wait()
		for _, c := range stats(p, "a").Connections {
			if c.InFlight < 4 {
				t.Errorf("connection %d has %d of 40 streams", c.Index, c.InFlight)
			}
		}
	})
}

func TestASlowExchangeHoldsItsOwnStreamOnly(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHolding()
		ss, _, _ := warm(t, h.answer, slots(10), pool.WithMinStreams(2)) // one connection for all
		slow := goExchange(t.Context(), ss, "hold")
		synctest.Wait()
		start := time.Now()
		for i := range 100 {
			mustExchange(t, ss, fmt.Sprint(i))
		}
		if d := time.Since(start); d > 10*time.Millisecond {
			t.Errorf("100 fast exchanges beside a slow one took %v", d)
		}
		close(h.hold)
		if r := <-slow; r.err != nil || string(r.res.Value) != "re: hold" {
			t.Errorf("the slow one: %v", r)
		}
	})
}

func TestAStreamCarriesOneExchangeAtATimeAndNoneAfterRelease(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHolding()
		ss, _, _ := warm(t, h.answer, nil)
		s, err := ss.Acquire(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		if s.EnclaveID() != "a" {
			t.Errorf("EnclaveID = %q", s.EnclaveID())
		}
		done := make(chan error, 1)
		go func() { _, err := s.Exchange(t.Context(), value("hold")); done <- err }()
		synctest.Wait()
		_, err = s.Exchange(t.Context(), value("x"))
		poolError(t, err, "a", pool.ErrLeaseBusy, codes.FailedPrecondition)
		s.Release() // takes effect when the exchange is over
		if n := warmStats(ss).Busy; n != 1 {
			t.Errorf("%d busy during the exchange, want 1", n)
		}
		close(h.hold)
		if err := <-done; err != nil {
			t.Error(err)
		}
		s.Release()
		_, err = s.Exchange(t.Context(), value("x"))
		poolError(t, err, "a", pool.ErrLeaseReleased, codes.FailedPrecondition)
		synctest.Wait()
		if n := warmStats(ss).Busy; n != 0 {
			t.Errorf("%d busy afterwards", n)
		}
	})
}

func TestADeadlineEndsTheExchangeResetsItsStreamAndNobodySeesTheLateAnswer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		h := newHolding()
		ss, _, _ := warm(t, h.answer, nil, pool.WithMinStreams(1), pool.WithMaxStreams(1))
		synctest.Wait()
		for name, c := range map[string]struct {
			after time.Duration
			make  func() (context.Context, context.CancelFunc)
			code  codes.Code
			want  error
		}{
			"deadline": {50 * time.Millisecond, func() (context.Context, context.CancelFunc) {
				return context.WithTimeout(context.Background(), 50*time.Millisecond)
			}, codes.DeadlineExceeded, context.DeadlineExceeded},
			"short deadline": {3 * time.Millisecond, func() (context.Context, context.CancelFunc) {
				return context.WithTimeout(context.Background(), 3*time.Millisecond)
			}, codes.DeadlineExceeded, context.DeadlineExceeded},
			"cancel": {time.Second, func() (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(context.Background())
				time.AfterFunc(time.Second, cancel)
				return ctx, cancel
			}, codes.Canceled, context.Canceled},
			"RequestTimeout": {5 * time.Second, func() (context.Context, context.CancelFunc) {
				return context.Background(), func() {}
			}, codes.DeadlineExceeded, context.DeadlineExceeded},
		} {
			ctx, cancel := c.make()
			start := time.Now()
			_, err := ss.Exchange(ctx, "a", value("hold"))
			cancel()
			if d := time.Since(start); d < c.after || d > c.after+time.Millisecond {
				t.Errorf("%s: returned after %v, want %v", name, d, c.after)
			}
			if e := poolError(t, err, "a", c.want, c.code); e.Disposition != pool.Unknown {
				t.Errorf("%s: disposition %v", name, e.Disposition)
			}
			if err := <-h.ended; err == nil {
				t.Errorf("%s: the enclave was not told", name)
			}
			mustExchange(t, ss, "next")
		}
	})
}

func TestAnExpiredContextSendsNothingAndKeepsTheStream(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ss, _, _ := warm(t, nil, nil, pool.WithMinStreams(1))
		synctest.Wait()
		_, err := ss.Exchange(expired(), "a", value("x"))
		if e := poolError(t, err, "a", context.Canceled, codes.Canceled); e.Disposition != pool.NotSent {
			t.Errorf("disposition %v", e.Disposition)
		}
		s, err := ss.Acquire(expired(), "a")
		if err != nil {
			t.Fatalf("Acquire with an idle stream: %v", err)
		}
		s.Release()
		if s := warmStats(ss); s.Retired != 0 || s.Exchanges != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestAStreamOutlivesRequestTimeoutAndItsOpenersDeadline(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ss, _, _ := warm(t, nil, nil, pool.WithMinStreams(0), pool.WithMaxStreams(1), pool.WithStreamIdleTimeout(0))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		if _, err := ss.Exchange(ctx, "a", value("x")); err != nil {
			t.Fatal(err)
		}
		cancel()
		time.Sleep(time.Minute)
		mustExchange(t, ss, "y")
		if s := warmStats(ss); s.Opened != 1 || s.Exchanges != 2 {
			t.Errorf("%+v, want one stream for both", s)
		}
	})
}

func TestTheEnclavesOwnStatusComesAsItIsAndEndsTheStream(t *testing.T) {
	bubble(t, func(t *testing.T) {
		for _, code := range []codes.Code{codes.InvalidArgument, codes.Unavailable, codes.Canceled} {
			ss, _, _ := warm(t, func(_ context.Context, req []byte) ([]byte, error) {
				if string(req) == "bad" {
					return nil, status.Error(code, "no such key")
				}
				return req, nil
			}, nil, pool.WithMinStreams(1), pool.WithMaxStreams(1), pool.WithIdempotent())
			mustExchange(t, ss, "x")
			_, err := ss.Exchange(t.Context(), "a", value("bad"))
			var e *pool.Error
			if status.Code(err) != code || status.Convert(err).Message() != "no such key" || errors.As(err, &e) {
				t.Errorf("%v: %T %v", code, err, err)
			}
			mustExchange(t, ss, "y")
			if s := warmStats(ss); s.Retired != 1 {
				t.Errorf("%v: %+v", code, s)
			}
		}
	})
}

func TestAStreamThatTheEnclaveEndsPolitelyCostsNoCallerAnError(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n atomic.Int64
		ss, _, _ := warm(t, func(_ context.Context, req []byte) ([]byte, error) {
			if n.Add(1)%3 == 0 {
				return nil, io.EOF // instead of an answer
			}
			return req, nil
		}, nil, pool.WithMinStreams(2))
		for i := range 300 {
			mustExchange(t, ss, fmt.Sprint(i))
		}
	})
}

func TestAnIdleStreamThatHasEndedIsFoundWhenItIsUsed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := pooltest.NewMemory(t, func(srv *grpc.Server) {
			srv.RegisterService(&grpc.ServiceDesc{ServiceName: "once.Once", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{{
				StreamName: "Once", ClientStreams: true, ServerStreams: true,
				Handler: func(_ any, s grpc.ServerStream) error {
					var m bytesValue
					if err := s.RecvMsg(&m); err != nil {
						return err
					}
					return s.SendMsg(&m)
				},
			}}}, nil)
		})
		p := newPool(t, config(e), pool.WithDialer(e.Dialer()))
		ready(t, p)
		ss := pool.NewStreams(p, func(ctx context.Context, cc grpc.ClientConnInterface) (grpc.BidiStreamingClient[bytesValue, bytesValue], error) {
			s, err := cc.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/once.Once/Once")
			return &grpc.GenericClientStream[bytesValue, bytesValue]{ClientStream: s}, err
		}, pool.WithMinStreams(4))
		for i := range 100 {
			mustExchange(t, ss, fmt.Sprint(i))
			synctest.Wait() // the end is there before the next use
		}
		if s := warmStats(ss); s.Retired < 95 {
			t.Errorf("%+v, want nearly every stream retired after its exchange", s)
		}
	})
}

func TestAnEnclaveThatNeverAnswersIsNotAskedForever(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var n atomic.Int64
		ss, _, _ := warm(t, func(context.Context, []byte) ([]byte, error) { n.Add(1); return nil, io.EOF }, nil, pool.WithMinStreams(0))
		_, err := ss.Exchange(t.Context(), "a", value("x"))
		if e := poolError(t, err, "a", pool.ErrUnavailable, codes.Unavailable); e.Disposition != pool.Refused {
			t.Errorf("disposition %v", e.Disposition)
		}
		if n := n.Load(); n < 2 || n > 10 {
			t.Errorf("asked %d times", n)
		}
	})
}

func TestAMethodThatTheEnclaveHasNotComesBackUnimplemented(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := pooltest.NewMemory(t, nil)
		p := newPool(t, config(e), pool.WithDialer(e.Dialer()))
		ready(t, p)
		ss := pool.NewStreams(p, pooltest.OpenExchange)
		synctest.Wait()
		for range 40 {
			_, err := ss.Exchange(t.Context(), "a", value("x"))
			if status.Code(err) != codes.Unimplemented {
				t.Fatal(err)
			}
		}
	})
}
