package memdir_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/enclavepool/enclavepool/routing"
	"github.com/enclavepool/enclavepool/routing/memdir"
	"github.com/enclavepool/enclavepool/routing/routingtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, opts ...memdir.Option) routing.Directory {
	d := memdir.New(opts...)
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

func TestDirectoryKeepsToTheContract(t *testing.T) {
	routingtest.RunDirectory(t, func() routing.Directory { return open(t) },
		routingtest.Shared(func(d routing.Directory) routing.Directory { return d }))
}

func TestDirectoryWithAShortHistorySaysThatItForgot(t *testing.T) {
	routingtest.RunDirectory(t, func() routing.Directory { return open(t, memdir.WithHistory(16)) },
		routingtest.Compacted(func(routing.Directory) {}))
}

func TestHistoryThatIsNoneIsRefused(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("WithHistory(0) was accepted")
		}
	}()
	memdir.WithHistory(0)
}
