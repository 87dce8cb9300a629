package faults

import (
	"context"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/enclave"
)

// row11 puts a listener in the enclave's place that accepts every connection and says nothing. The listener is in this
// process: it does nothing, and knows how long each connection was left open to it.
var row11 = row{
	number: 11,
	fault:  "listener accepts, handshake hangs",
	held:   "each attempt ≤ its dial timeout (150 ms); other enclaves' p99 unchanged; never more than 50 attempts/s or 4 at once",
	how: "The enclave is killed, and a listener in its place holds what it accepts. An attempt lasts from there until the " +
		"listener sees it closed. Enclave b is under load before and during.",
	run: func(ctx context.Context, r *rig, res *Result) error {
		a, b, err := r.enclaves(ctx)
		if err != nil {
			return err
		}
		p, err := r.pool(ctx, config(a, b))
		if err != nil {
			return err
		}
		l := traffic{pool: p, rate: r.rate / 2, choose: to("b")}.start()
		stop := func() { l.stop() }
		defer func() { stop() }()
		lasting := r.lasting(5*time.Second, time.Second)
		if err := sleep(ctx, lasting); err != nil {
			return err
		}
		killed := time.Now()
		a.Kill()
		if _, err := awaitGone(ctx, p, "a"); err != nil {
			return err
		}
		lis, err := enclave.Listen(a.Target)
		if err != nil {
			return err
		}
		h := holdAll(lis)
		onA := traffic{pool: p, rate: 50, choose: to("a")}.start()
		from := time.Now()
		err = sleep(ctx, lasting)
		until := time.Now()
		h.close()
		madeA := onA.stop()
		if err != nil {
			return err
		}
		if err := a.Start(ctx); err != nil {
			return err
		}
		if _, err := awaitFull(ctx, p, "a"); err != nil {
			return err
		}
		stop = func() {}
		made := l.stop()

		var lengths []time.Duration
		var whole []attempt
		for _, held := range h.list {
			if held.begin.After(from) && held.end.Before(until.Add(-time.Millisecond)) {
				lengths = append(lengths, held.end.Sub(held.begin))
			}
			whole = append(whole, held)
		}
		slices.SortFunc(whole, func(x, y attempt) int { return x.begin.Compare(y.begin) })
		limit := r.dialTimeout()
		res.timing("an attempt", lengths, worst(limit+25*time.Millisecond).waiting(limit))
		perSecond, together := busiest(whole, time.Second), atOnce(whole, giveUp)
		res.say("%d attempts, at most %d in a second, %d at once", len(whole), perSecond, together)
		if !r.quick {
			res.must(perSecond <= 50, "%d attempts within a second", perSecond)
		}
		starved, err := r.starved(ctx, from, until)
		if err != nil {
			return err
		}
		res.must(together <= 4 || starved, "%d attempts at once", together)
		kinds, wrong := madeA.kinds(unavailable)
		res.Broken = append(res.Broken, wrong...)
		res.must(len(madeA.failed()) == len(madeA), "calls to an enclave that does not answer succeeded")
		res.say("calls to it failed with: %s", kinds)
		excused, err := r.excused(ctx, p, b, killed.Add(-lasting))
		if err != nil {
			return err
		}
		res.neighbour(made.begun(time.Time{}, killed), made.begun(killed, until), excused)
		before, during := made.begun(time.Time{}, killed).latencies(), made.begun(from, until).latencies()
		if !r.quick {
			res.aim(quantile(during, 0.99) <= 2*quantile(before, 0.99)+time.Millisecond, "the other enclave's p99 rose from %s to %s",
				short(quantile(before, 0.99)), short(quantile(during, 0.99)))
		}
		return nil
	},
}

// holder accepts connections and holds them until the other side closes them.
type holder struct {
	lis  net.Listener
	done sync.WaitGroup

	mu    sync.Mutex
	open  map[net.Conn]struct{}
	ended bool
	list  []attempt
}

func holdAll(lis net.Listener) *holder {
	h := &holder{lis: lis, open: make(map[net.Conn]struct{})}
	h.done.Go(func() {
		for {
			c, err := lis.Accept()
			if err != nil {
				return
			}
			at := time.Now()
			h.mu.Lock()
			ended := h.ended
			h.open[c] = struct{}{}
			h.mu.Unlock()
			if ended {
				c.Close()
				continue
			}
			h.done.Go(func() { h.hold(c, at) })
		}
	})
	return h
}

func (h *holder) hold(c net.Conn, at time.Time) {
	defer c.Close()
	for buf := make([]byte, 1<<10); ; {
		if _, err := c.Read(buf); err != nil {
			break
		}
	}
	h.mu.Lock()
	h.list = append(h.list, attempt{begin: at, end: time.Now()})
	delete(h.open, c)
	h.mu.Unlock()
}

func (h *holder) close() {
	h.lis.Close()
	h.mu.Lock()
	h.ended = true
	for c := range h.open {
		c.Close()
	}
	h.mu.Unlock()
	h.done.Wait()
}
