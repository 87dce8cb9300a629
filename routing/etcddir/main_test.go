package etcddir_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/enclavepool/enclavepool/routing"
	"github.com/enclavepool/enclavepool/routing/etcddir"
	"github.com/enclavepool/enclavepool/routing/etcddir/etcdtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ctx = context.Background()

// connect returns a client that is closed with the test.
func connect(t *testing.T, endpoints ...string) *clientv3.Client {
	t.Helper()
	cfg := etcddir.Config(endpoints...)
	cfg.Logger = zap.NewNop()
	client, err := clientv3.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() }) // of no consequence any more
	return client
}

var prefixes atomic.Int64

// open returns a directory that nobody else has, and its prefix.
func open(t *testing.T, c *etcdtest.Cluster, opts ...etcddir.Option) (*etcddir.Directory, string) {
	t.Helper()
	prefix := fmt.Sprintf("/test/%d/", prefixes.Add(1))
	d := etcddir.New(connect(t, c.Endpoints()...), append(opts, etcddir.WithPrefix(prefix))...)
	t.Cleanup(func() { _ = d.Close() }) // always nil
	return d, prefix
}

func newPlaced(t *testing.T, d routing.Directory, opts ...routing.PlacedOption) *routing.Placed {
	t.Helper()
	p := routing.NewPlaced(routing.NewRendezvous(), d, opts...)
	t.Cleanup(func() { _ = p.Close() }) // always nil
	if err := p.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return p
}
