package etcddir_test

import (
	"crypto/tls"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/enclavepool/enclavepool/routing"
	"github.com/enclavepool/enclavepool/routing/etcddir"
)

// The client is its caller's: TLS, a user, and when it is closed.
func ExampleNew() {
	cfg := etcddir.Config("https://etcd-0:2379", "https://etcd-1:2379", "https://etcd-2:2379")
	cfg.TLS = &tls.Config{ /* the cluster's CA, this gateway's certificate */ }
	client, err := clientv3.New(cfg)
	if err != nil {
		return
	}
	defer client.Close()
	placed := routing.NewPlaced(routing.NewRendezvous(), etcddir.New(client), routing.WithMirror())
	defer placed.Close()
	// clients of pool.Routed(placed) …
}
