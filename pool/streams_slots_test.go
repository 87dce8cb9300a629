package pool_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/enclavepool/enclavepool/pool"
)

func TestAnIdleStreamGivesItsSlotToACallerWhoWouldHaveToWait(t *testing.T) {
	for _, maxWaiters := range []int{4096, 0} {
		bubble(t, func(t *testing.T) {
			ss, p, _ := warm(t, nil, func(cfg *pool.Config) {
				slots(4)(cfg)
				cfg.MaxWaiters = maxWaiters
			}, pool.WithMinStreams(4))
			synctest.Wait()
			if s := warmStats(ss); s.Idle != 4 {
				t.Fatalf("%+v", s)
			}
			start := time.Now()
			var leases []*pool.Lease
			for i := range 4 {
				l, err := p.Acquire(t.Context(), "a")
				if err != nil {
					t.Fatal(i, err)
				}
				leases = append(leases, l)
			}
			if d := time.Since(start); d > 0 {
				t.Errorf("waited %v", d)
			}
			if s := warmStats(ss); s.Open != 0 {
				t.Errorf("%+v", s)
			}
			if n := stats(p, "a").Exhausted; n != 0 {
				t.Errorf("%d callers turned away", n)
			}
			for _, l := range leases {
				l.Release()
			}
			time.Sleep(5 * time.Second)
			if s := warmStats(ss); s.Idle != 4 {
				t.Errorf("with the leases back: %+v, want the minimum again", s)
			}
		})
	}
}

func TestACallerGetsAReleasedStreamOrASlotWhicheverIsFirst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ss, p, _ := warm(t, nil, slots(2), pool.WithMinStreams(0))
		lease, err := p.Acquire(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		s, err := ss.Acquire(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		first, second := goExchange(t.Context(), ss, "1"), goExchange(t.Context(), ss, "2")
		synctest.Wait()
		if w, sw := stats(p, "a").Waiters, warmStats(ss).Waiters; w != 2 || sw != 2 {
			t.Fatalf("%d wait for slots, %d for streams; want 2 of each, the same", w, sw)
		}
		s.Release() // serves both, one after the other
		if r := <-first; r.err != nil {
			t.Error(r.err)
		}
		if r := <-second; r.err != nil {
			t.Error(r.err)
		}
		if s := warmStats(ss); s.Opened != 1 {
			t.Errorf("%+v, want the one stream for all", s)
		}
		third := goExchange(t.Context(), ss, "3")
		if r := <-third; r.err != nil {
			t.Error(r.err)
		}
		s, err = ss.Acquire(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		fourth := goExchange(t.Context(), ss, "4")
		synctest.Wait()
		lease.Release() // a slot to open one with
		if r := <-fourth; r.err != nil {
			t.Error(r.err)
		}
		if s := warmStats(ss); s.Opened != 2 {
			t.Errorf("%+v, want a second stream", s)
		}
		s.Release()
	})
}

// With every slot in a stream's hands and callers waiting for streams, a plain
// call still gets its turn.
func TestStreamsDoNotStarvePlainCalls(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ss, p, _ := warm(t, func(_ context.Context, req []byte) ([]byte, error) {
			time.Sleep(10 * time.Millisecond)
			return req, nil
		}, slots(2), pool.WithMinStreams(0))
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						mustExchange(t, ss, fmt.Sprint(i))
					}
				}
			})
		}
		time.Sleep(100 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		for range 20 {
			if _, err := client(p, "a").EmptyCall(ctx, &grpc_testing.Empty{}); err != nil {
				t.Fatal(err)
			}
		}
		close(stop)
		wg.Wait()
	})
}

func TestCallersGetStreamsInTheOrderOfTheirArrival(t *testing.T) {
	for name, opts := range map[string][]pool.StreamOption{
		"maximum of streams": {pool.WithMinStreams(0), pool.WithMaxStreams(2)},
		"every slot taken":   {pool.WithMinStreams(0)},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				var mu sync.Mutex
				var order []string
				ss, _, _ := warm(t, func(_ context.Context, req []byte) ([]byte, error) {
					mu.Lock()
					order = append(order, string(req))
					mu.Unlock()
					time.Sleep(time.Millisecond)
					return req, nil
				}, slots(2), opts...)
				var all []<-chan result
				var want []string
				for i := range 50 {
					all = append(all, goExchange(t.Context(), ss, fmt.Sprintf("%02d", i)))
					want = append(want, fmt.Sprintf("%02d", i))
					synctest.Wait()
				}
				for _, done := range all {
					if r := <-done; r.err != nil {
						t.Fatal(r.err)
					}
				}
				// Two at a time: neighbours may be exchanged.
				for i, got := range order {
					if at := slices.Index(want, got); at < i-1 || at > i+1 {
						t.Fatalf("order %v", order)
					}
				}
			})
		})
	}
}

func TestStreamWaitersAreBoundedInNumberAndTime(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ss, p, _ := warm(t, nil, func(cfg *pool.Config) { cfg.MaxWaiters, cfg.AcquireTimeout = 2, time.Second },
			pool.WithMinStreams(1), pool.WithMaxStreams(1))
		s, err := ss.Acquire(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		one, two := goExchange(t.Context(), ss, "1"), goExchange(t.Context(), ss, "2")
		synctest.Wait()
		_, err = ss.Acquire(t.Context(), "a")
		poolError(t, err, "a", pool.ErrExhausted, codes.ResourceExhausted)
		if d := time.Since(start); d != 0 {
			t.Errorf("turned away after %v", d)
		}
		for _, done := range []<-chan result{one, two} {
			r := <-done
			poolError(t, r.err, "a", pool.ErrExhausted, codes.ResourceExhausted)
		}
		if d := time.Since(start); d != time.Second {
			t.Errorf("waited %v, AcquireTimeout is 1s", d)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		_, err = ss.Exchange(ctx, "a", value("x"))
		if e := poolError(t, err, "a", context.DeadlineExceeded, codes.DeadlineExceeded); e.Disposition != pool.NotSent {
			t.Errorf("disposition %v", e.Disposition)
		}
		if n := stats(p, "a").Exhausted; n != 3 {
			t.Errorf("Exhausted = %d, want 3", n)
		}
		s.Release()
		mustExchange(t, ss, "x")
	})
}

// 200 goroutines acquire, exchange, give up and release while others make plain
// calls and the enclave is resized and drained; then every slot is back.
func TestNoSlotIsLostToStreamsWhateverCallersDo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		ss, p, _ := warm(t, func(ctx context.Context, req []byte) ([]byte, error) {
			select {
			case <-time.After(time.Duration(len(req)) * time.Millisecond):
			case <-ctx.Done():
			}
			return req, nil
		}, func(cfg *pool.Config) { cfg.MinConns, cfg.MaxConns, cfg.MaxConcurrentStreams = 2, 4, 10 }, pool.WithMaxStreams(25))
		var served, other atomic.Int64
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				for r := range 30 {
					d := time.Duration((i*7+r*13)%60) * time.Millisecond
					ctx, cancel := context.WithTimeout(t.Context(), d)
					var err error
					switch i % 4 {
					case 0:
						_, err = client(p, "a").EmptyCall(ctx, &grpc_testing.Empty{})
					case 1:
						var s *pool.Stream[bytesValue, bytesValue]
						if s, err = ss.Acquire(ctx, "a"); err == nil {
							_, err = s.Exchange(ctx, value("xxxxx"))
							s.Release()
						}
					default:
						_, err = ss.Exchange(ctx, "a", value("xxxxxxxxxx"))
					}
					cancel()
					switch {
					case err == nil:
						served.Add(1)
					case errors.Is(err, pool.ErrDraining), errors.Is(err, pool.ErrUnavailable), ctx.Err() != nil:
						other.Add(1)
					default:
						t.Errorf("%d: %v", i, err)
					}
				}
			})
		}
		done := make(chan struct{})
		go func() { wg.Wait(); close(done) }()
		for i := 0; ; i++ {
			select {
			case <-done:
			case <-time.After(20 * time.Millisecond):
				if i%5 == 4 {
					_ = p.Drain(within(t, 10*time.Millisecond), "a")
					_ = p.Resume("a")
				} else {
					_ = p.Resize("a", 1+i%3, 4)
				}
				continue
			}
			break
		}
		if served.Load() == 0 || other.Load() == 0 {
			t.Errorf("%d served, %d not: the test tests nothing", served.Load(), other.Load())
		}
		if err := ss.Close(within(t, patience)); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if s := stats(p, "a"); s.InFlight != 0 || s.Waiters != 0 {
			t.Errorf("in the end %d slots are in use, %d wait", s.InFlight, s.Waiters)
		}
	})
}
