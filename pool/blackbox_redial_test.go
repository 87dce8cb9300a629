package pool_test

import (
	"context"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

// mortal dials an enclave, remembers when, and closes connections under the
// pool's feet.
type mortal struct {
	dial func(ctx context.Context, target string) (net.Conn, error)
	// lifetime, when not 0, is how long a connection lives.
	lifetime time.Duration

	mu     sync.Mutex
	rng    *rand.Rand
	begun  []time.Time
	living []*mortalConn
}

type mortalConn struct {
	net.Conn
	by *mortal
}

func (c *mortalConn) Close() error {
	c.by.mu.Lock()
	c.by.living = slices.DeleteFunc(c.by.living, func(o *mortalConn) bool { return o == c })
	c.by.mu.Unlock()
	return c.Conn.Close()
}

func (m *mortal) Dial(ctx context.Context, target string) (net.Conn, error) {
	m.mu.Lock()
	m.begun = append(m.begun, time.Now())
	m.mu.Unlock()
	raw, err := m.dial(ctx, target)
	if err != nil {
		return nil, err
	}
	c := &mortalConn{raw, m}
	m.mu.Lock()
	m.living = append(m.living, c)
	if m.lifetime > 0 {
		time.AfterFunc(m.lifetime, func() { raw.Close() })
	}
	m.mu.Unlock()
	return c, nil
}

// live has the connections made from now on end after d, or live on if d is 0.
func (m *mortal) live(d time.Duration) {
	m.mu.Lock()
	m.lifetime = d
	m.mu.Unlock()
}

func (m *mortal) attempts() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.begun)
}

// kill ends n connections, any.
func (m *mortal) kill(n int) {
	m.mu.Lock()
	m.rng.Shuffle(len(m.living), func(i, j int) { m.living[i], m.living[j] = m.living[j], m.living[i] })
	victims := slices.Clone(m.living[:min(n, len(m.living))])
	m.mu.Unlock()
	for _, c := range victims {
		c.Conn.Close()
	}
}

// busiest returns the most attempts begun within a second, not before from.
func (m *mortal) busiest(from time.Time) (most int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, at := range m.begun {
		n := 0
		for _, other := range m.begun[i:] {
			if other.Sub(at) < time.Second {
				n++
			}
		}
		if !at.Before(from) {
			most = max(most, n)
		}
	}
	return most
}

func mortalPool(t *testing.T, change func(*mortal)) (*pool.Pool, *mortal) {
	t.Helper()
	e := pooltest.NewMemory(t, (&service{}).register)
	m := &mortal{dial: e.Dialer(), rng: rand.New(rand.NewPCG(1, 2))}
	if change != nil {
		change(m)
	}
	cfg := config(e)
	cfg.MinConns, cfg.MaxConns = 32, 32
	return newPool(t, cfg, pool.WithDialer(m.Dial)), m
}

// replacements collects how long every place of enclave "a" was without a
// connection; what it returns ends that.
func replacements(t *testing.T, p *pool.Pool) func() []time.Duration {
	ctx, cancel := context.WithCancel(t.Context())
	var took []time.Duration
	var done sync.WaitGroup
	done.Go(func() {
		lost := map[int]time.Time{}
		for ev := range p.Events(ctx) {
			switch at, out := lost[ev.Conn]; {
			case ev.Conn < 0:
			case ev.To == breaker.Healthy && out:
				took = append(took, ev.At.Sub(at))
				delete(lost, ev.Conn)
			case ev.To == breaker.Degraded && !out:
				lost[ev.Conn] = ev.At
			}
		}
	})
	return func() []time.Duration {
		cancel()
		done.Wait()
		return took
	}
}

// Fault 3. Without calls a connection takes longest to show that it is of use,
// so that a third of those that die here die young.
func TestAConnectionThatDiesYoungIsReplacedAtOnceWhileOthersLive(t *testing.T) {
	for name, called := range map[string]bool{"idle": false, "called": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p, m := mortalPool(t, nil)
				ready(t, p)
				time.Sleep(time.Second)
				stop := replacements(t, p)
				for range 30 * 50 {
					m.kill(1)
					time.Sleep(20 * time.Millisecond)
					if called {
						if _, err := client(p, "a").EmptyCall(t.Context(), &grpc_testing.Empty{}); err != nil {
							t.Fatal(err)
						}
					}
				}
				took := stop()
				// An event that was overtaken by the next is not among them.
				if len(took) < 1000 {
					t.Fatalf("%d replacements seen, of 1500", len(took))
				}
				if worst := slices.Max(took); worst > 20*time.Millisecond {
					t.Errorf("the worst of %d replacements took %v, want 20ms at most", len(took), worst)
				}
			})
		})
	}
}

func TestAnEnclaveThatDropsWhateverItAcceptsIsNotDialledWithoutAPause(t *testing.T) {
	for _, lifetime := range []time.Duration{time.Millisecond, 10 * time.Millisecond, 45 * time.Millisecond, 200 * time.Millisecond} {
		bubble(t, func(t *testing.T) {
			p, m := mortalPool(t, func(m *mortal) { m.lifetime = lifetime })
			began := time.Now()
			time.Sleep(time.Minute)
			_ = p.Close(expired())
			synctest.Wait()
			all := m.attempts()
			// The first second has the first connections, and the allowance.
			if most := m.busiest(began.Add(2 * time.Second)); most > 50 || all > 60*50+64 {
				t.Errorf("connections live for %v: %d attempts in the busiest second, %d in a minute", lifetime, most, all)
			}
			if all < 60 {
				t.Errorf("connections live for %v: only %d attempts in a minute", lifetime, all)
			}
		})
	}
}

// One that answers calls and has a few connections that live is dialled no more
// often for those that do not.
func TestPlacesWhoseConnectionsAlwaysDieYoungGetNoMoreThanTheAllowance(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, m := mortalPool(t, nil)
		ready(t, p)
		time.Sleep(time.Second)
		m.live(5 * time.Millisecond)
		m.kill(28)
		from := time.Now().Add(2 * time.Second)
		time.Sleep(30 * time.Second)
		if most := m.busiest(from); most > 50 || most < 10 {
			t.Errorf("%d attempts in the busiest second", most)
		}
		if s := stats(p, "a"); s.State != breaker.Healthy || s.HealthyConns < 4 {
			t.Errorf("%v, %d of the 4 connections that live", s.State, s.HealthyConns)
		}
		m.live(0)
		time.Sleep(2 * time.Second)
		if s := stats(p, "a"); s.HealthyConns != 32 {
			t.Errorf("%d connections two seconds after they ceased to die", s.HealthyConns)
		}
	})
}

func TestAllConnectionsKilledAtOnceAreBackAtOnce(t *testing.T) {
	for _, age := range []time.Duration{0, 10 * time.Millisecond, 100 * time.Millisecond, time.Second} {
		bubble(t, func(t *testing.T) {
			p, m := mortalPool(t, nil)
			ready(t, p)
			time.Sleep(age)
			before := m.attempts()
			m.kill(32)
			synctest.Wait()
			start := time.Now()
			ready(t, p)
			if took := time.Since(start); took > 60*time.Millisecond {
				t.Errorf("aged %v: all back after %v", age, took)
			}
			if n := m.attempts() - before; n > 32 {
				t.Errorf("aged %v: %d attempts for 32 connections", age, n)
			}
		})
	}
}
