package envconfig_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/envconfig"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

// fleet is a pool of enclaves in memory that follows a file.
type fleet struct {
	*watched
	*pool.Pool
	enclaves []*pooltest.Enclave
}

// newFleet connects to n enclaves, of which content makes what it likes: in it
// TARGET0 and so on stand for their targets. Each exchange takes them 100ms.
func newFleet(t *testing.T, n int, content string, silent envconfig.Option) *fleet {
	t.Helper()
	f := &fleet{}
	for range n {
		f.enclaves = append(f.enclaves, pooltest.NewMemory(t, func(s *grpc.Server) {
			pooltest.ServeExchange(s, func(_ context.Context, req []byte) ([]byte, error) {
				time.Sleep(100 * time.Millisecond)
				return req, nil
			})
		}))
	}
	dir := t.TempDir()
	f.watched = &watched{dir: dir, path: filepath.Join(dir, "pool.env")}
	f.set(t, content)
	cfg, err := envconfig.Load(nil, f.path)
	if err != nil {
		t.Fatal(err)
	}
	f.Pool, err = pool.New(cfg, pool.WithDialer(pooltest.DialerFor(f.enclaves...)), pool.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := f.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.watch(t, f.path, f.Update, silent)
	synctest.Wait()
	return f
}

// set writes the file, and lets it be noticed and applied.
func (f *fleet) set(t *testing.T, content string) {
	t.Helper()
	for i, e := range f.enclaves {
		content = strings.ReplaceAll(content, fmt.Sprint("TARGET", i), e.Target())
	}
	write(t, f.path, content)
	pass(3 * time.Second)
}

func (f *fleet) conns() int { return f.Stats().Enclaves["a"].HealthyConns }

// load keeps 32 exchanges under way until stop, which returns how many there
// were; each one that fails fails the test.
func (f *fleet) load(t *testing.T) (stop func() int64) {
	var ended atomic.Bool
	var calls atomic.Int64
	var callers sync.WaitGroup
	for range 32 {
		callers.Go(func() {
			for !ended.Load() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				s, err := pooltest.OpenExchange(ctx, f.Conn("a"))
				if err == nil {
					if err = s.Send(wrapperspb.Bytes([]byte("digest"))); err == nil {
						_, err = s.Recv()
					}
				}
				cancel()
				if err != nil {
					t.Errorf("call %d: %v", calls.Load(), err)
				}
				calls.Add(1)
			}
		})
	}
	return func() int64 { ended.Store(true); callers.Wait(); return calls.Load() }
}

func TestThePoolFollowsTheFileUnderLoadAndNoCallFails(t *testing.T) {
	bubble(t, func(t *testing.T, silent envconfig.Option) {
		f := newFleet(t, 1, "SIGNER_ENCLAVES=a=TARGET0\n", silent)
		if n := f.conns(); n != 16 {
			t.Errorf("%d connections at the start", n)
		}
		stop := f.load(t)
		for _, n := range []int{24, 8} {
			f.set(t, fmt.Sprintf("SIGNER_ENCLAVES=a=TARGET0\nSIGN_CONN_POOL_MIN=%d\nSIGN_CONN_POOL_MAX=%d\n", n, n))
			if got := f.conns(); got != n {
				t.Errorf("%d connections, want %d", got, n)
			}
		}
		if n := stop(); n < 1000 {
			t.Errorf("only %d calls", n)
		}
	})
}

func TestShortConnectionsCanBeFallenBackToAndLeftAgain(t *testing.T) {
	bubble(t, func(t *testing.T, silent envconfig.Option) {
		const normal, short = "SIGNER_ENCLAVES=a=TARGET0\n", `SIGNER_ENCLAVES=a=TARGET0
SIGN_CONN_POOL_MIN=1
SIGN_CONN_POOL_MAX=1
SIGN_CONN_POOL_KEEPALIVE_TIME=off
`
		f := newFleet(t, 1, normal, silent)
		stop := f.load(t)
		for content, want := range map[string]int{short: 1, normal: 16} {
			f.set(t, short)
			f.set(t, content)
			if n, open := f.conns(), f.enclaves[0].Conns(); n != want || open != want {
				t.Errorf("%d connections, %d of them at the enclave, want %d", n, open, want)
			}
		}
		if n := stop(); n < 1000 {
			t.Errorf("only %d calls", n)
		}
	})
}

func TestABadFileLeavesARunningPoolAsItIs(t *testing.T) {
	bubble(t, func(t *testing.T, silent envconfig.Option) {
		f := newFleet(t, 2, "SIGNER_ENCLAVES=a=TARGET0\nSIGN_CONN_POOL_MIN=4\n", silent)
		before := f.Stats().Enclaves["a"]
		f.taken()
		stop := f.load(t)
		for _, content := range []string{
			"", "SIGNER_ENCLAVES=\n", "SIGNER_ENCLAVES=a=TARGET0,b\n", "SIGNER_ENCLAVES=b=TARGET1\nSIGN_CONN_POOL_MIN=99\n",
			"SIGNER_ENCLAVES=b=TARGET1\nSIGN_CONN_POOL_MINN=2\n",
		} {
			f.set(t, content)
			now := f.Stats().Enclaves
			if len(now) != 1 || now["a"].Dials != before.Dials || now["a"].MinConns != 4 || now["a"].HealthyConns != 4 {
				t.Errorf("%q changed the pool: %+v", content, now)
			}
			if _, logged := f.taken(); !strings.Contains(logged, "nothing changed") {
				t.Errorf("%q: logged %s", content, logged)
			}
		}
		stop()
		f.set(t, "SIGNER_ENCLAVES=b=TARGET1\nSIGN_CONN_POOL_MIN=2\n")
		if now := f.Stats().Enclaves; len(now) != 1 || now["b"].HealthyConns != 2 {
			t.Errorf("a good file after bad ones: %+v", now)
		}
	})
}

// What docs/config/enclave-config.md says of each setting under "reload".
func TestWhatAReloadDoesToOpenConnectionsIsAsDocumented(t *testing.T) {
	const base = "SIGNER_ENCLAVES=a=TARGET0\nSIGN_CONN_POOL_MIN=2\nSIGN_CONN_POOL_MAX=2\n"
	changes := map[string]string{} // from the setting to the file in which it is changed
	for name, other := range envconfig.OtherValues() {
		if strings.Contains(base, name+"=") {
			changes[name] = strings.Replace(base, name+"=2", name+"="+other, 1)
		} else {
			changes[name] = base + name + "=" + other + "\n"
		}
	}
	for part, other := range map[string]string{
		"min": "TARGET0;min=1", "max": "TARGET0;max=3", "weight": "TARGET0;weight=2",
		"authority": "TARGET0;authority=signer.internal", "target": "TARGET1",
	} {
		changes[part] = strings.Replace(base, "TARGET0", other, 1)
	}
	said := map[string]bool{}
	for _, r := range documented(t) {
		changed, ok := changes[r.name]
		if !ok {
			continue // the ID of an enclave, and the whole list
		}
		said[r.name] = true
		bubble(t, func(t *testing.T, silent envconfig.Option) {
			f := newFleet(t, 2, base, silent)
			before := f.Stats().Enclaves["a"]
			f.set(t, changed)
			if _, logged := f.taken(); !strings.Contains(logged, "file changed") || strings.Contains(logged, "rejected") {
				t.Errorf("%s: %s", r.name, logged)
			}
			now := f.Stats().Enclaves["a"]
			replaced := now.Dials >= before.Dials+2 && !now.Connections[0].OpenedAt.Equal(before.Connections[0].OpenedAt)
			kept := now.Dials == before.Dials && reflect.DeepEqual(now.Connections[0].OpenedAt, before.Connections[0].OpenedAt)
			if r.reload == "at once" && !kept || r.reload == "new connections" && !replaced || replaced == kept {
				t.Errorf("%s: reload is %q, and connections were replaced: %v, kept: %v", r.name, r.reload, replaced, kept)
			}
		})
	}
	for name := range changes {
		if !said[name] {
			t.Errorf("the documentation says nothing of %s", name)
		}
	}
}
