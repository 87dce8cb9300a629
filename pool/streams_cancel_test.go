package pool_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

// Exchanges are cancelled at random moments, most of them in the middle. No
// answer may come to another's request.
func TestNobodyEverGetsANeighboursAnswer(t *testing.T) {
	e := pooltest.Start(t, exchangeService(func(_ context.Context, req []byte) ([]byte, error) {
		time.Sleep(time.Duration(req[7]) * 10 * time.Microsecond) // on, whatever the caller does
		return req, nil
	}))
	cfg := socketConfig(e)
	p := newPool(t, cfg)
	ready(t, p)
	ss := pool.NewStreams(p, pooltest.OpenExchange, pool.WithMaxStreams(20))
	var ids, served, cancelled atomic.Uint64
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 3))
			for range 100 {
				id := ids.Add(1)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rng.IntN(6000))*time.Microsecond)
				if i%2 == 0 {
					cancel()
					ctx, cancel = context.WithCancel(t.Context())
					time.AfterFunc(time.Duration(rng.IntN(6000))*time.Microsecond, cancel)
				}
				res, err := ss.Exchange(ctx, "a", &bytesValue{Value: binary.BigEndian.AppendUint64(nil, id)})
				switch {
				case err == nil && binary.BigEndian.Uint64(res.Value) != id:
					t.Errorf("request %d got the answer to %d", id, binary.BigEndian.Uint64(res.Value))
				case err == nil:
					served.Add(1)
				case ctx.Err() != nil && errors.Is(err, ctx.Err()):
					cancelled.Add(1)
				default:
					t.Error(err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	if served.Load() == 0 || cancelled.Load() == 0 {
		t.Errorf("%d served, %d cancelled: the test tests nothing", served.Load(), cancelled.Load())
	}
	if err := ss.Close(within(t, patience)); err != nil {
		t.Error(err)
	}
	eventually(t, "every slot is back", func() bool { return stats(p, "a").InFlight == 0 })
}
