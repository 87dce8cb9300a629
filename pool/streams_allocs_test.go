package pool_test

import (
	"context"
	"testing"
	"time"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

// A bare exchange of 32 bytes costs gRPC and protobuf 26 to 30 allocations,
// both ends of it counted: the messages, their buffers, a data frame for each.
// What Streams adds is measured beside it, on the same server.
func TestAnExchangeAllocatesNothingOfItsOwn(t *testing.T) {
	e := pooltest.Start(t, exchangeService(nil))
	cfg := socketConfig(e)
	cfg.MinConns, cfg.MaxConns = 1, 1
	p := newPool(t, cfg)
	ready(t, p)
	ss := pool.NewStreams(p, pooltest.OpenExchange)
	bare, err := pooltest.OpenExchange(within(t, time.Hour), p.Conn("a"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	req := value("a digest of thirty-two bytes ....")
	viaStreams := func() {
		if _, err := ss.Exchange(ctx, "a", req); err != nil {
			t.Fatal(err)
		}
	}
	viaGRPC := func() {
		if err := bare.Send(req); err != nil {
			t.Fatal(err)
		}
		if _, err := bare.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	viaStreams()
	viaGRPC()
	// Other goroutines allocate too, and gRPC's batches vary: the least of
	// several measurements is what it costs.
	least := func(f func()) float64 {
		n := testing.AllocsPerRun(500, f)
		for range 4 {
			n = min(n, testing.AllocsPerRun(500, f))
		}
		return n
	}
	raw, ours := least(viaGRPC), least(viaStreams)
	t.Logf("%v allocations on a bare stream, %v through Streams", raw, ours)
	if ours > raw+1 {
		t.Errorf("%v allocations through Streams, %v on a bare stream", ours, raw)
	}
}
