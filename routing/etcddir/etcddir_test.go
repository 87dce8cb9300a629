package etcddir_test

import (
	"errors"
	"testing"
	"time"

	"github.com/enclavepool/enclavepool/routing"
	"github.com/enclavepool/enclavepool/routing/etcddir"
	"github.com/enclavepool/enclavepool/routing/etcddir/etcdtest"
	"github.com/enclavepool/enclavepool/routing/routingtest"
)

// patient: the contract is the same on a machine that has much else to do.
var patient = etcddir.WithTimeout(20 * time.Second)

func TestDirectoryKeepsToTheContract(t *testing.T) {
	for name, members := range map[string]int{"one member": 1, "three members": 3} {
		t.Run(name, func(t *testing.T) {
			c := etcdtest.New(t, members)
			prefixes := map[routing.Directory]string{}
			again := func(d routing.Directory) routing.Directory {
				other := etcddir.New(connect(t, c.Endpoints()...), etcddir.WithPrefix(prefixes[d]), patient)
				t.Cleanup(func() { _ = other.Close() }) // always nil
				return other
			}
			routingtest.RunDirectory(t, func() routing.Directory {
				d, prefix := open(t, c, patient)
				prefixes[d] = prefix
				return d
			}, routingtest.Shared(again), routingtest.Reopened(func(d routing.Directory) routing.Directory {
				_ = d.(*etcddir.Directory).Close() // always nil
				return again(d)
			}), routingtest.Compacted(func(d routing.Directory) {
				page, err := d.List(ctx, "", 1)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := connect(t, c.Endpoints()...).Compact(ctx, int64(page.Revision)); err != nil {
					t.Fatal(err)
				}
			}))
		})
	}
}

func TestPlacedOnEtcdKeepsToTheContractOfSelectors(t *testing.T) {
	d, _ := open(t, etcdtest.New(t, 1), patient)
	routingtest.Run(t, func() routing.Selector { return newPlaced(t, d, routing.WithDirectoryTimeout(20*time.Second)) }, routingtest.Placing(), routingtest.Keys(64))
}

func TestWhatIsBesideThePrefixIsNotSeen(t *testing.T) {
	c := etcdtest.New(t, 1)
	d, prefix := open(t, c)
	client := connect(t, c.Endpoints()...)
	for _, name := range []string{prefix[:len(prefix)-1], "/a", prefix[:len(prefix)-1] + "0", "zzz"} {
		if _, err := client.Put(ctx, name, "somebody else's"); err != nil {
			t.Fatal(err)
		}
	}
	if page, err := d.List(ctx, "", 10); err != nil || len(page.Placements) != 0 {
		t.Errorf("%+v, %v", page, err)
	}
	if _, _, err := d.Place(ctx, "k", "a"); err != nil {
		t.Fatal(err)
	}
	res, err := client.Get(ctx, prefix+"k")
	if err != nil || len(res.Kvs) != 1 || string(res.Kvs[0].Value) != "a" {
		t.Errorf("etcdctl would show %v, %v", res, err)
	}
}

func TestNobodyThereIsRetryableAndTakesNoLongerThanItsTimeout(t *testing.T) {
	d := etcddir.New(connect(t, "http://127.0.0.1:1"), etcddir.WithTimeout(200*time.Millisecond))
	defer d.Close()
	_, lookup := d.Lookup(ctx, "k")
	_, _, place := d.Place(ctx, "k", "a")
	_, list := d.List(ctx, "", 1)
	var watch error
	for _, watch = range d.Watch(ctx, routing.Now) {
	}
	for op, err := range map[string]error{"lookup": lookup, "place": place, "list": list, "watch": watch} {
		var away *routing.DirectoryError
		if !errors.As(err, &away) || !errors.Is(err, routing.ErrDirectoryUnavailable) || away.Op != op || away.RetryAfter <= 0 {
			t.Errorf("%s: %v", op, err)
		}
	}
}

func TestClosedClientSaysSo(t *testing.T) {
	client := connect(t, "http://127.0.0.1:1")
	d := etcddir.New(client)
	if err := client.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Lookup(ctx, "k"); !errors.Is(err, routing.ErrDirectoryClosed) {
		t.Error(err)
	}
	for _, err := range d.Watch(ctx, routing.Now) {
		if !errors.Is(err, routing.ErrDirectoryClosed) {
			t.Error(err)
		}
	}
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	for name, make := range map[string]func(){
		"no prefix":  func() { etcddir.WithPrefix("") },
		"no timeout": func() { etcddir.WithTimeout(0) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: it was accepted", name)
				}
			}()
			make()
		}()
	}
}
