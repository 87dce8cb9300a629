package pool_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
	"github.com/enclavepool/enclavepool/routing"
)

var errStranger = errors.New("this is not the enclave that was meant")

// refusing is a verifier that refuses while it is told to.
type refusing struct{ refuses atomic.Bool }

func (r *refusing) verify(context.Context, pool.PeerInfo) error {
	if r.refuses.Load() {
		return errStranger
	}
	return nil
}

// Every way in which a call can be made, at an enclave that is refused.
func TestAPeerThatIsRefusedIsNeverRoutedToInAnyMode(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var reached atomic.Int64
		svc := &service{seen: func(context.Context) { reached.Add(1) }}
		e := pooltest.NewMemory(t, func(s *grpc.Server) {
			svc.register(s)
			pooltest.ServeExchange(s, func(context.Context, []byte) ([]byte, error) { reached.Add(1); return nil, nil })
		})
		var r refusing
		r.refuses.Store(true)
		option, collect := meters(t)
		var log logBuffer
		cfg := config(e)
		cfg.Health.Disabled = true // nothing but the verifier is in the way
		p := newPool(t, cfg, pool.WithDialer(e.Dialer()), option, pool.WithPeerVerifier(r.verify),
			pool.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		streams := pool.NewStreams(p, pooltest.OpenExchange)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		events := follow(ctx, p)
		time.Sleep(time.Minute)

		for name, call := range map[string]func(ctx context.Context) error{
			"Conn": func(ctx context.Context) error {
				_, err := client(p, "a").EmptyCall(ctx, &grpc_testing.Empty{})
				return err
			},
			"Conn, waiting for ready": func(ctx context.Context) error {
				_, err := client(p, "a").EmptyCall(ctx, &grpc_testing.Empty{}, grpc.WaitForReady(true))
				return err
			},
			"Acquire": func(ctx context.Context) error {
				_, err := p.Acquire(ctx, "a")
				return err
			},
			"a warm stream": func(ctx context.Context) error {
				_, err := streams.Exchange(ctx, "a", value("x"))
				return err
			},
			"routed": func(ctx context.Context) error {
				cc := p.Routed(routing.NewRendezvous(routing.WithSpill(3)))
				_, err := grpc_testing.NewTestServiceClient(cc).EmptyCall(routing.WithKey(ctx, "k"), &grpc_testing.Empty{})
				return err
			},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			if err := call(ctx); err == nil || !errors.Is(err, errStranger) || !errors.Is(err, pool.ErrPeerRejected) {
				t.Errorf("%s: %v; want the refusal, and ErrPeerRejected, among the causes", name, err)
			}
			cancel()
		}
		s := stats(p, "a")
		if n := reached.Load(); n != 0 || s.HealthyConns != 0 || s.Capacity != 0 {
			t.Errorf("%d calls reached it; %d Healthy, capacity %d", n, s.HealthyConns, s.Capacity)
		}
		want(t, "it was never admitted, so nothing changed", events.take())
		// At 0, 1, 3, 7, 15, 31, 61 and 91 s by each of two places, give or take a fifth.
		if got := byResult(t, collect()["pool_dials"]); got["rejected"] != int64(s.Dials) || s.Dials < 10 || s.Dials > 20 {
			t.Errorf("pool_dials %v, want all of %d rejected, in %v", got, s.Dials, time.Minute)
		}
		if n := strings.Count(log.String(), `msg="peer rejected`); n != 1 || !strings.Contains(log.String(), errStranger.Error()) {
			t.Errorf("the log says %d times that the peer was rejected, want once and why:\n%s", n, log.String())
		}

		r.refuses.Store(false)
		time.Sleep(40 * time.Second)
		ready(t, p)
		everyKindOfCall(t.Context(), t, client(p, "a"))
		if reached.Load() == 0 {
			t.Error("no call reached it once it was accepted")
		}
	})
}

// A refusal takes nothing from the connections that are there, and keeps the
// enclave where it is once they have gone.
func TestRefusalsDoNotMakeTheStateFlap(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var r refusing
		p, e := memoryPool(t, &service{}, nil, pool.WithPeerVerifier(r.verify))
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		events := follow(ctx, p)
		events.take() // that it is there
		r.refuses.Store(true)
		e.DropConns(1)
		time.Sleep(time.Minute)
		if s := stats(p, "a"); s.State != breaker.Healthy || s.HealthyConns != 1 {
			t.Errorf("with one connection left: %v, %d Healthy", s.State, s.HealthyConns)
		}
		everyKindOfCall(t.Context(), t, client(p, "a"))
		e.DropConns(1)
		time.Sleep(10 * time.Minute)
		changes := map[breaker.State]int{}
		for _, ev := range events.take() {
			if ev.Conn < 0 {
				changes[ev.To]++
			}
		}
		if changes[breaker.Degraded] != 1 || len(changes) != 1 {
			t.Errorf("the enclave's changes of state: %v, want one, to Degraded", changes)
		}
	})
}

// What a verifier can do other than answer.
func TestAVerifierThatMisbehavesIsARefusalOrATimeout(t *testing.T) {
	for name, tt := range map[string]struct {
		verify func(context.Context, pool.PeerInfo) error
		result string
		is     error
	}{
		"it panics": {func(context.Context, pool.PeerInfo) error { panic("no PCR policy") }, "rejected", pool.ErrPeerRejected},
		//lint:ignore SA5000 the panic is what is tested
		"it panics with nil map": {func(context.Context, pool.PeerInfo) error { var m map[int]int; m[0]++; return nil }, "rejected", pool.ErrPeerRejected},
		"it ends its goroutine":  {func(context.Context, pool.PeerInfo) error { runtime.Goexit(); return nil }, "rejected", pool.ErrPeerRejected},
		"it waits for its context": {func(ctx context.Context, _ pool.PeerInfo) error { <-ctx.Done(); return ctx.Err() },
			"timed_out", context.DeadlineExceeded},
		"the peer hangs up on it": {func(context.Context, pool.PeerInfo) error { return io.EOF }, "failed", io.EOF},
		"it says that a peer that hangs up is none": {func(context.Context, pool.PeerInfo) error { return errors.Join(pool.ErrPeerRejected, io.EOF) },
			"rejected", pool.ErrPeerRejected},
		"it accepts, but too late": {func(ctx context.Context, _ pool.PeerInfo) error { <-ctx.Done(); return nil },
			"timed_out", context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				e := pooltest.NewMemory(t, (&service{}).register)
				option, collect := meters(t)
				p := newPool(t, config(e), pool.WithDialer(e.Dialer()), option, pool.WithPeerVerifier(tt.verify))
				time.Sleep(5 * time.Second)
				s := stats(p, "a")
				got := byResult(t, collect()["pool_dials"])
				if s.HealthyConns != 0 || got[tt.result] < 2 || got["connected"] != 0 || !errors.Is(s.Cause, tt.is) {
					t.Errorf("%d Healthy, pool_dials %v, cause %v; want all %s, %v", s.HealthyConns, got, s.Cause, tt.result, tt.is)
				}
				if tt.result != "rejected" && errors.Is(s.Cause, pool.ErrPeerRejected) {
					t.Errorf("the cause is ErrPeerRejected: %v", s.Cause)
				}
				if err := p.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestAVerifierThatNeverReturnsIsLeftBehindWithinBounds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		release := make(chan struct{})
		var running, most, calls atomic.Int64
		verify := func(context.Context, pool.PeerInfo) error {
			calls.Add(1)
			n := running.Add(1)
			defer running.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			<-release
			return nil
		}
		e := pooltest.NewMemory(t, (&service{}).register)
		cfg := config(e)
		p := newPool(t, cfg, pool.WithDialer(e.Dialer()), pool.WithPeerVerifier(verify))
		err := p.Ready(within(t, 160*time.Millisecond)) // the first attempts are over after 150
		if !strings.Contains(err.Error(), "verifier has not answered") || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Ready: %v; want it to name the verifier", err)
		}
		time.Sleep(10 * time.Minute)
		// 8 that are left behind, and 2 at once that were asked when there were fewer.
		if s := stats(p, "a"); most.Load() > 10 || calls.Load() > 10 || s.HealthyConns != 0 || s.Dials < 20 {
			t.Errorf("%d calls, %d at once, %d Healthy, %d attempts", calls.Load(), most.Load(), s.HealthyConns, s.Dials)
		}
		if err := stats(p, "a").Cause; !errors.Is(err, pool.ErrPeerRejected) {
			t.Errorf("the cause is %v", err)
		}
		close(release)
		synctest.Wait()
		if n := running.Load(); n != 0 {
			t.Errorf("%d calls still run", n)
		}
		time.Sleep(40 * time.Second)
		ready(t, p)
		everyKindOfCall(t.Context(), t, client(p, "a"))
	})
}

// The budget may be spent before the first attempt has come to anything.
func TestCallersHearTheLatestCauseOfAnOutage(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := pooltest.NewMemory(t, (&service{}).register)
		cfg := config(e)
		cfg.DialTimeout = time.Second
		p := newPool(t, cfg, pool.WithDialer(e.Dialer()), pool.WithPeerVerifier(func(context.Context, pool.PeerInfo) error {
			time.Sleep(500 * time.Millisecond)
			return errStranger
		}))
		time.Sleep(300 * time.Millisecond)
		if _, err := p.Acquire(t.Context(), "a"); !errors.Is(err, pool.ErrUnavailable) || errors.Is(err, errStranger) {
			t.Errorf("the budget is spent, and nothing known yet: %v", err)
		}
		time.Sleep(time.Second)
		if _, err := p.Acquire(t.Context(), "a"); !errors.Is(err, pool.ErrUnavailable) || !errors.Is(err, errStranger) {
			t.Errorf("after a refusal: %v; want it among the causes", err)
		}
	})
}

// greeting is a server's credentials that say a word of their own ahead of HTTP/2.
type greeting struct {
	credentials.TransportCredentials
	word string
}

func (g greeting) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c, info, err := g.TransportCredentials.ServerHandshake(raw)
	if err == nil {
		_, err = io.WriteString(c, g.word)
	}
	return c, info, err
}

func (g greeting) Clone() credentials.TransportCredentials {
	return greeting{g.TransportCredentials.Clone(), g.word}
}

func TestAVerifierLearnsWhoThePeerIsAndMayTalkToItAheadOfHTTP2(t *testing.T) {
	serverTLS, clientTLS := tlsConfigs(t, "signer.internal")
	for name, tt := range map[string]struct {
		server, client credentials.TransportCredentials
	}{
		"TLS":       {credentials.NewTLS(serverTLS), credentials.NewTLS(clientTLS)},
		"plaintext": {insecure.NewCredentials(), insecure.NewCredentials()},
	} {
		t.Run(name, func(t *testing.T) {
			e := pooltest.Start(t, (&service{}).register, pooltest.WithServerOptions(grpc.Creds(greeting{tt.server, "attested"})))
			cfg := socketConfig(e)
			cfg.Enclaves[0].Authority = "signer.internal"
			var seen atomic.Pointer[pool.PeerInfo]
			verify := func(ctx context.Context, peer pool.PeerInfo) error {
				seen.Store(&peer)
				word := make([]byte, len("attested"))
				if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > cfg.DialTimeout {
					return errors.New("its time is not bounded by the attempt's")
				} else if err := peer.Conn.SetDeadline(deadline); err != nil { // the pool takes it back
					return err
				}
				if _, err := io.ReadFull(peer.Conn, word); err != nil {
					return err
				}
				if string(word) != "attested" {
					return errStranger
				}
				return nil
			}
			p := newPool(t, cfg, pool.WithTransportCredentials(tt.client), pool.WithPeerVerifier(verify), pool.WithUnixPeer(pool.UnixPeer{AnyFile: true}))
			ready(t, p)
			everyKindOfCall(within(t, patience), t, client(p, "a"))
			peer := seen.Load()
			if peer.EnclaveID != "a" || peer.Target != e.Target() || peer.Authority != "signer.internal" || peer.AuthInfo.AuthType() == "" {
				t.Errorf("the verifier saw %+v", peer)
			}
			if a, ok := peer.Addr.(*net.UnixAddr); !ok || "unix:"+a.Name != e.Target() {
				t.Errorf("the peer's address is %v", peer.Addr)
			}
			switch {
			case name == "plaintext" && peer.TLS != nil:
				t.Error("a TLS state without TLS")
			case name == "TLS" && (peer.TLS == nil || !peer.TLS.HandshakeComplete || peer.TLS.ServerName != "signer.internal" || len(peer.TLS.PeerCertificates) != 1):
				t.Errorf("TLS state %+v", peer.TLS)
			}
		})
	}
}

func TestVerifiersAddUpInOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var mu sync.Mutex
		var asked []string
		ask := func(name string, answer error) pool.Option {
			return pool.WithPeerVerifier(func(context.Context, pool.PeerInfo) error {
				mu.Lock()
				defer mu.Unlock()
				asked = append(asked, name)
				return answer
			})
		}
		e := pooltest.NewMemory(t, (&service{}).register)
		cfg := config(e)
		cfg.MinConns = 1
		p := newPool(t, cfg, pool.WithDialer(e.Dialer()), pool.WithPeerVerifier(nil), ask("first", nil), ask("second", errStranger), ask("third", nil))
		time.Sleep(100 * time.Millisecond)
		mu.Lock()
		defer mu.Unlock()
		if got := strings.Join(asked, ", "); got != "first, second" || stats(p, "a").HealthyConns != 0 {
			t.Errorf("asked %q; want first, second", got)
		}
	})
}

// bundle is another way of bringing credentials, past the pool's.
type bundle struct{}

func (bundle) TransportCredentials() credentials.TransportCredentials {
	return insecure.NewCredentials()
}
func (bundle) PerRPCCredentials() credentials.PerRPCCredentials { return nil }
func (b bundle) NewWithMode(string) (credentials.Bundle, error) { return b, nil }

func TestNoDialOptionBringsCredentialsPastTheVerifier(t *testing.T) {
	cfg := pool.DefaultConfig()
	cfg.Enclaves = []pool.Enclave{{ID: "a", Target: "unix:/nowhere"}}
	for name, opt := range map[string]grpc.DialOption{
		"WithTransportCredentials": grpc.WithTransportCredentials(insecure.NewCredentials()),
		"WithCredentialsBundle":    grpc.WithCredentialsBundle(bundle{}),
	} {
		_, err := pool.New(cfg, quiet, pool.WithDialOptions(opt))
		if !errors.Is(err, pool.ErrConfig) {
			t.Errorf("%s: New = %v, want ErrConfig", name, err)
		}
	}
}
