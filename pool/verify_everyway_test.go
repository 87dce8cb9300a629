package pool_test

import (
	"context"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

// customs notes of every transport whether the verifier was asked about it, and
// whether anything passed before it had agreed.
type customs struct {
	mu    sync.Mutex
	conns []*passing
	calls int
}

// passing is one transport, as it was dialled.
type passing struct {
	net.Conn
	at             *customs
	target         string
	asked          int
	admitted       bool
	carried, early int // reads and writes: all of them, and those ahead of the verifier's word
}

func (p *passing) note() {
	p.at.mu.Lock()
	defer p.at.mu.Unlock()
	p.carried++
	if !p.admitted {
		p.early++
	}
}

func (p *passing) Read(b []byte) (int, error)  { p.note(); return p.Conn.Read(b) }
func (p *passing) Write(b []byte) (int, error) { p.note(); return p.Conn.Write(b) }

func (c *customs) dialer(dial func(context.Context, string) (net.Conn, error)) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, target string) (net.Conn, error) {
		raw, err := dial(ctx, target)
		if err != nil {
			return nil, err
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		p := &passing{Conn: raw, at: c, target: target}
		c.conns = append(c.conns, p)
		return p, nil
	}
}

// verify refuses one in eight.
func (c *customs) verify(_ context.Context, peer pool.PeerInfo) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := peer.Conn.(*passing) // plaintext: the transport itself
	p.asked++
	c.calls++
	if c.calls%8 == 0 || p.target != peer.Target {
		return errStranger
	}
	p.admitted = true
	return nil
}

// There is no way around the verifier: whatever makes the pool connect, each
// transport is asked about once, and carries nothing before, or after a refusal.
func TestEveryTransportIsVerifiedBeforeItCarriesAByteWhateverMadeIt(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var all []*pooltest.Enclave
		for range 3 {
			all = append(all, pooltest.NewMemory(t, exchangeService(func(_ context.Context, b []byte) ([]byte, error) { return b, nil })))
		}
		var c customs
		cfg := config(all[0], all[1])
		cfg.MinConns, cfg.MaxConns, cfg.MaxConcurrentStreams, cfg.MaxConnAge = 4, 12, 4, 40*time.Second
		p := newPool(t, cfg, pool.WithDialer(c.dialer(pooltest.DialerFor(all...))), pool.WithPeerVerifier(c.verify),
			pool.WithServiceConfig(`{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.01s",
				"maxBackoff": "0.1s", "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]}`))
		ready(t, p)
		streams := pool.NewStreams(p, pooltest.OpenExchange, pool.WithIdempotent())

		ctx, cancel := context.WithCancel(t.Context())
		var load sync.WaitGroup
		for i := range 24 {
			load.Go(func() {
				id := string(rune('a' + i%2))
				for ctx.Err() == nil {
					call, cancel := context.WithTimeout(ctx, time.Second)
					if i%4 < 2 {
						_, _ = streams.Exchange(call, id, value("x")) // how calls fare is other tests' business
					} else {
						_, _ = client(p, id).EmptyCall(call, &grpc_testing.Empty{}, grpc.WaitForReady(i%8 < 4))
					}
					cancel()
					time.Sleep(time.Duration(100+20*i) * time.Millisecond)
				}
			})
		}
		dice := rand.New(rand.NewPCG(1, 2))
		deeds := []func(){
			func() { all[dice.IntN(3)].DropConns(1 + dice.IntN(4)) },
			func() { all[dice.IntN(3)].Restart() },
			func() { e := all[dice.IntN(3)]; e.Stop(); time.Sleep(2 * time.Second); e.Restart() },
			func() { all[dice.IntN(3)].GracefulStop(); time.Sleep(time.Second) }, // GOAWAY
			func() { e := all[dice.IntN(3)]; e.Freeze(); time.Sleep(time.Second); e.Thaw() },
			func() { _ = p.Resize("a", 1+dice.IntN(6), 6+dice.IntN(6)) },
			func() {
				drain, cancel := context.WithTimeout(ctx, time.Second)
				_ = p.Drain(drain, "b")
				cancel()
				_ = p.Resume("b")
			},
			func() { // another target under the same name, another authority, another keepalive
				next := cfg
				next.Enclaves = append([]pool.Enclave(nil), cfg.Enclaves...)
				next.Enclaves[1].Target = all[1+dice.IntN(2)].Target()
				next.Enclaves[0].Authority = []string{"", "signer.internal"}[dice.IntN(2)]
				next.Keepalive.Time += time.Duration(dice.IntN(3)) * time.Second
				if err := p.Update(next); err != nil {
					t.Error(err)
				}
			},
			func() { time.Sleep(time.Minute) }, // MaxConnAge
		}
		for range 80 {
			deeds[dice.IntN(len(deeds))]()
			for _, e := range all {
				restartIfStopped(t.Context(), e)
			}
			time.Sleep(time.Duration(dice.IntN(3000)) * time.Millisecond)
		}
		cancel()
		load.Wait()
		if err := p.Close(expired()); err != nil {
			t.Log(err)
		}
		synctest.Wait()

		c.mu.Lock()
		defer c.mu.Unlock()
		carried, refused, abandoned := 0, 0, 0
		for i, p := range c.conns {
			switch {
			case p.early > 0:
				t.Errorf("transport %d carried something %d times before the verifier agreed", i, p.early)
			case p.asked > 1:
				t.Errorf("transport %d was asked about %d times", i, p.asked)
			case p.carried > 0 && p.asked != 1:
				t.Errorf("transport %d was never asked about", i)
			case p.carried > 0:
				carried++
			case p.asked == 1 && !p.admitted:
				refused++
			default:
				abandoned++ // given up in between
			}
		}
		t.Logf("%d transports, %d calls of the verifier: %d carried HTTP/2, %d were refused and carried nothing, %d were given up first",
			len(c.conns), c.calls, carried, refused, abandoned)
		if c.calls < carried+refused || c.calls > len(c.conns) {
			t.Errorf("%d calls of the verifier for %d transports", c.calls, len(c.conns))
		}
		if carried < 150 || refused < 20 {
			t.Error("too little happened for this to show anything")
		}
	})
}

// restartIfStopped brings an enclave back that cannot be dialled.
func restartIfStopped(ctx context.Context, e *pooltest.Enclave) {
	raw, err := e.Dialer()(ctx, e.Target())
	if err != nil {
		e.Restart()
		return
	}
	raw.Close()
}
