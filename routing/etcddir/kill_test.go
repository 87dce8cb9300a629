package etcddir_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/enclavepool/enclavepool/routing"
	"github.com/enclavepool/enclavepool/routing/etcddir"
	"github.com/enclavepool/enclavepool/routing/etcddir/etcdtest"
)

// placing places keys from several goroutines, tries again what failed, and keeps
// what was acknowledged.
type placing struct {
	dir      routing.Directory
	stop     atomic.Bool
	done     sync.WaitGroup
	refused  atomic.Int64
	mu       sync.Mutex
	made     map[string]routing.Placement
	failures []error
}

func startPlacing(d routing.Directory) *placing {
	p := &placing{dir: d, made: map[string]routing.Placement{}}
	for caller := range 8 {
		p.done.Go(func() { p.placeAll(caller) })
	}
	return p
}

func (p *placing) placeAll(caller int) {
	for n := 0; !p.stop.Load(); n++ {
		key := fmt.Sprintf("%d/%d", caller, n)
		for attempt := 0; !p.stop.Load(); attempt++ {
			// A repeated call says another enclave; the first that was recorded counts.
			made, _, err := p.dir.Place(ctx, key, fmt.Sprint("enclave-", attempt))
			if err == nil {
				p.mu.Lock()
				p.made[key] = made
				p.mu.Unlock()
				break
			}
			if !errors.Is(err, routing.ErrDirectoryUnavailable) {
				p.mu.Lock()
				p.failures = append(p.failures, err)
				p.mu.Unlock()
				return
			}
			p.refused.Add(1)
		}
	}
}

func (p *placing) acknowledged() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.made)
}

// more waits until so many more have been acknowledged.
func (p *placing) more(t *testing.T, n int) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for goal := p.acknowledged() + n; p.acknowledged() < goal; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("in a minute only %d of %d, %d refused", p.acknowledged(), goal, p.refused.Load())
		}
	}
}

// end stops, and looks every key up in d.
func (p *placing) end(t *testing.T, d routing.Directory) {
	t.Helper()
	p.stop.Store(true)
	p.done.Wait()
	for _, err := range p.failures {
		t.Error("not retryable:", err)
	}
	for key, want := range p.made {
		got, err := d.Lookup(ctx, key)
		if err != nil || got.EnclaveID != want.EnclaveID || got.Version != want.Version {
			t.Fatalf("%+v, %v; acknowledged was %+v", got, err, want)
		}
	}
	t.Logf("%d acknowledged, all found; %d refused with a retryable error", len(p.made), p.refused.Load())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// upToDate waits until a Placed has seen all that is recorded: it is compared with
// the record, key by key.
func upToDate(t *testing.T, p *routing.Placed, d routing.Directory) {
	t.Helper()
	page, err := d.List(ctx, "", 10_000)
	must(t, err)
	var ms []routing.Member
	for i := range 1000 {
		ms = append(ms, routing.Member{ID: fmt.Sprint("enclave-", i)})
	}
	v := routing.NewView(1, append(ms, routing.Member{ID: "moved"})...)
	deadline := time.Now().Add(20 * time.Second)
	for _, want := range page.Placements {
		for {
			id, err := p.Select(ctx, v, want.Key)
			if err == nil && id == want.EnclaveID {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%q, %v; recorded is %+v; %+v", id, err, want, p.Stats())
			}
			time.Sleep(time.Millisecond)
		}
	}
}

func TestMembersAreKilledOneAfterAnother(t *testing.T) {
	c := etcdtest.New(t, 3)
	d, prefix := open(t, c)
	other := etcddir.New(connect(t, c.Endpoints()...), etcddir.WithPrefix(prefix))
	defer other.Close()
	mirror := newPlaced(t, other, routing.WithMirror())
	p := startPlacing(d)
	p.more(t, 50)
	for round := range 4 {
		victim := rand.IntN(3)
		if round%2 == 0 {
			var err error
			victim, err = c.Leader(ctx)
			must(t, err)
		}
		must(t, c.Kill(victim))
		p.more(t, 50) // two of three go on
		must(t, c.Restart(victim))
		must(t, c.Ready(ctx))
		p.more(t, 50)
	}
	p.end(t, d)
	upToDate(t, mirror, d)
}

func TestAllMembersAreKilledAndReturn(t *testing.T) {
	c := etcdtest.New(t, 3)
	d, prefix := open(t, c)
	other := etcddir.New(connect(t, c.Endpoints()...), etcddir.WithPrefix(prefix))
	defer other.Close()
	mirror := newPlaced(t, other, routing.WithMirror())
	p := startPlacing(d)
	p.more(t, 200)
	known, err := d.List(ctx, "", 100)
	must(t, err)
	upToDate(t, mirror, d)
	for range 2 {
		for i := range 3 {
			must(t, c.Kill(i))
		}
		v := routing.NewView(1, routing.Member{ID: "enclave-0"}, routing.Member{ID: "enclave-1"})
		// Until it notices, and after it did: known keys go on.
		for state := routing.PlacedCurrent; state == routing.PlacedCurrent; state = mirror.Stats().State {
			for _, k := range known.Placements {
				if _, err := mirror.Select(ctx, v, k.Key); err != nil {
					t.Fatal("a known key while etcd is away:", err)
				}
			}
			time.Sleep(10 * time.Millisecond)
		}
		for _, k := range known.Placements {
			if _, err := mirror.Select(ctx, v, k.Key); err != nil {
				t.Fatal("a known key while etcd is away:", err)
			}
		}
		if _, err := mirror.Select(ctx, v, "unknown"); !errors.Is(err, routing.ErrDirectoryUnavailable) {
			t.Error("an unknown key while etcd is away:", err)
		}
		if _, err := mirror.Select(routing.WithPlacing(ctx), v, "new"); !errors.Is(err, routing.ErrDirectoryUnavailable) {
			t.Error("a new key while etcd is away:", err)
		}
		for i := range 3 {
			must(t, c.Restart(i))
		}
		p.more(t, 50)
	}
	p.end(t, d)
	upToDate(t, mirror, d)
	if p.refused.Load() == 0 {
		t.Error("nothing was refused: were they away?")
	}
}

func TestFrozenMemberIsLeft(t *testing.T) {
	c := etcdtest.New(t, 3)
	d, _ := open(t, c)
	mirror := newPlaced(t, d, routing.WithMirror())
	p := startPlacing(d)
	p.more(t, 20)
	for i := range 3 {
		must(t, c.Signal(i, syscall.SIGSTOP))
		p.more(t, 20)
		must(t, c.Signal(i, syscall.SIGCONT))
		must(t, c.Ready(ctx))
	}
	p.end(t, d)
	upToDate(t, mirror, d)
}

func TestWatchNoticesThatTheClusterIsAnother(t *testing.T) {
	c := etcdtest.New(t, 1)
	d, _ := open(t, c, patient)
	p := newPlaced(t, d, routing.WithMirror())
	v := routing.NewView(1, routing.Member{ID: "enclave-0"})
	for i := range 20 {
		_, _, err := d.Place(ctx, fmt.Sprint("k", i), "enclave-0")
		must(t, err)
	}
	for p.Stats().Kept < 20 { // it has seen the revisions
		time.Sleep(time.Millisecond)
	}
	must(t, c.Wipe())
	must(t, c.Restart(0))
	must(t, c.Ready(ctx))
	// The new one has a lower revision, and does not know the keys.
	deadline := time.Now().Add(30 * time.Second)
	for {
		_, err := p.Select(ctx, v, "k3")
		if errors.Is(err, routing.ErrNotPlaced) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v; %+v", err, p.Stats())
		}
		time.Sleep(10 * time.Millisecond)
	}
}
