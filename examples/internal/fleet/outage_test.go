package fleet

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

// withEtcd says whether real etcd servers are wanted: `make test-etcd` asks for them, since building one takes a minute.
func withEtcd(t *testing.T) {
	t.Helper()
	if os.Getenv("ENCLAVEPOOL_ETCD_TESTS") == "" {
		t.Skip("real etcd servers are run by make test-etcd")
	}
}

// etcdAway has two gateways, three enclaves and an etcd of one member, which is killed after some keys were made. Each of
// them was made through the one or the other gateway, and no gateway has been restarted since.
func etcdAway(t *testing.T) (f *Fleet, keys map[string][]byte) {
	withEtcd(t)
	f = launch(t, Config{Enclaves: 3, Gateways: 2, Members: 1})
	c := f.NewCreating("before-")
	c.Run(limited(t), 100, 8, 0)
	if keys = c.Keys(); len(keys) != 100 || len(c.Broken()) > 0 {
		t.Fatal(len(keys), c.Broken())
	}
	f.states(t, "current")
	if err := f.Etcd.Kill(0); err != nil {
		t.Fatal(err)
	}
	f.states(t, "stale")
	return f, keys
}

// states waits until every gateway says so of its directory.
func (f *Fleet) states(t *testing.T, want string) {
	t.Helper()
	for _, g := range f.Gateways {
		if err := await(limited(t), g.Name, func() error {
			got, err := g.DirectoryState(limited(t))
			if err == nil && got != want {
				err = fmt.Errorf("its directory is %s, want %s", got, want)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// back brings the etcd back and waits until the gateways have noticed.
func (f *Fleet) back(t *testing.T) {
	t.Helper()
	if err := f.Etcd.Restart(0); err != nil {
		t.Fatal(err)
	}
	f.states(t, "current")
}

func createOnce(ctx context.Context, g *Gateway, name string) error {
	_, err := g.Signer().Create(ctx, &signerv1.CreateRequest{KeyId: name, Algorithm: signerv1.Algorithm_ALGORITHM_ED25519})
	return err
}

func TestKeysGoOnSigningWhileEtcdIsAway(t *testing.T) {
	f, keys := etcdAway(t)
	for range 3 {
		for name, public := range keys {
			for _, g := range f.Gateways { // that made it, and that only heard of it
				if err := g.SignOnce(limited(t), name, public); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := f.Verify(limited(t), keys); err != nil { // Create of a key that there is does no harm either
		t.Error(err)
	}
}

func TestUnknownKeysAndCreateFailFastAndRetryablyWhileEtcdIsAway(t *testing.T) {
	f, _ := etcdAway(t)
	const calls = 50
	for _, g := range f.Gateways {
		began := time.Now()
		for i := range calls {
			_, sign := g.Signer().Sign(limited(t), &signerv1.SignRequest{KeyId: fmt.Sprint("unknown-", i), Digest: make([]byte, 32)})
			create := createOnce(limited(t), g, fmt.Sprint("new-", i))
			for what, err := range map[string]error{"sign": sign, "create": create} {
				if status.Code(err) != codes.Unavailable || RetryAfter(err) <= 0 {
					t.Fatalf("%s through %s: %v, retry after %v", what, g.Name, err, RetryAfter(err))
				}
			}
		}
		// One in every wait of 200 ms looks whether it is back, and takes a second.
		took := time.Since(began)
		t.Logf("%s: %d calls took %v", g.Name, 2*calls, took)
		if took > 2*calls*time.Second/4 {
			t.Errorf("%d calls took %v", 2*calls, took)
		}
	}
}

func TestNothingIsCreatedThatCannotBeFoundAgainWhileEtcdIsAway(t *testing.T) {
	f, keys := etcdAway(t)
	before, err := f.Keys(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(limited(t), 3*time.Second)
	defer cancel()
	c := f.NewCreating("meanwhile-")
	c.Run(short, 0, 8, 0) // until the time is over
	during, err := f.Keys(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	if c.Acknowledged.Load() > 0 || during != before || c.Refused.Load() == 0 {
		t.Errorf("%d keys in the enclaves, then %d; %d were acknowledged, %d refused", before, during, c.Acknowledged.Load(), c.Refused.Load())
	}
	f.back(t)
	again := f.NewCreating("meanwhile-")
	again.Run(limited(t), 50, 8, 0)
	if n := len(again.Keys()); n != 50 {
		t.Errorf("%d keys when it is back: %v", n, again.Broken())
	}
	for name, public := range again.Keys() {
		keys[name] = public
	}
	if err := f.Verify(limited(t), keys); err != nil {
		t.Error(err)
	}
	if n, err := f.Keys(limited(t)); err != nil || n != len(keys) {
		t.Errorf("%d keys were acknowledged, %d are in the enclaves, %v", len(keys), n, err)
	}
}

func TestRecoveryFromAnEtcdThatWasAwayNeedsNoRestart(t *testing.T) {
	f, keys := etcdAway(t)
	// Not even of a gateway that was started while it was away, which knows nothing.
	late := f.Gateways[1]
	late.Kill()
	if err := late.Start(limited(t)); err != nil {
		t.Fatal(err)
	}
	for name := range keys {
		if err := late.SignOnce(limited(t), name, keys[name]); status.Code(err) != codes.Unavailable || RetryAfter(err) <= 0 {
			t.Fatal(err)
		}
		break
	}
	f.back(t)
	if err := late.Ready(limited(t)); err != nil {
		t.Fatal(err)
	}
	c := f.NewCreating("after-")
	c.Run(limited(t), 50, 8, 0)
	for name, public := range c.Keys() {
		keys[name] = public
	}
	if len(keys) != 150 {
		t.Errorf("%d keys: %v", len(keys), c.Broken())
	}
	if err := f.Verify(limited(t), keys); err != nil {
		t.Error(err)
	}
}

func TestWhatWasAcknowledgedOutlivesKilledGatewaysAndEtcdMembers(t *testing.T) {
	withEtcd(t)
	for members, k := range map[int]Kills{
		1: {Victim: Either, Kills: 6, Creates: 400, Callers: 12},
		3: {Victim: Either, Kills: 6, Creates: 400, Callers: 12},
	} {
		t.Run(fmt.Sprint(members), func(t *testing.T) {
			f := launch(t, Config{Enclaves: 3, Gateways: 2, Members: members})
			r, err := f.Disturb(limited(t), k, "k")
			if err != nil {
				t.Errorf("%+v: %v", r, err)
			}
			t.Logf("%+v", r)
		})
	}
}
