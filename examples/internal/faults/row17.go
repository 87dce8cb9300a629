package faults

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/envconfig"
)

// row17 reloads a file a thousand times while calls go on: "a" moves between two enclaves, "b" stays, "c" comes and goes
// with calls in flight, sizes and policies change, and every tenth file is not valid.
var row17 = row{
	number: 17,
	fault:  "config reload: bad values, removed enclave, changed target, 1000 reloads",
	held:   "bad config rejected whole, old one kept; 0 failed calls on removed/changed enclaves' in-flight work",
	how: "1000 reloads of a file (envconfig.Load, Pool.Update), 5 ms apart, under calls without a retry policy to three enclaves. A call to c " +
		"takes 20 ms, so that each removal finds some in flight; one that comes after it is told that there is no such enclave.",
	run: func(ctx context.Context, r *rig, res *Result) error {
		a, b, err := r.enclaves(ctx)
		if err != nil {
			return err
		}
		elsewhere, err := r.enclave(ctx, "a2")
		if err != nil {
			return err
		}
		c, err := r.enclave(ctx, "c")
		if err != nil {
			return err
		}
		if err := c.SetFaults(ctx, `{"delay":"20ms"}`); err != nil {
			return err
		}
		reloads := &reloads{path: filepath.Join(r.dir, "pool.env"), targets: map[string]string{
			"A": a.Target, "A2": elsewhere.Target, "B": b.Target, "C": c.Target,
		}}
		first, err := reloads.load(reload{}.lines())
		if err != nil {
			return err
		}
		if reloads.pool, err = r.pool(ctx, first); err != nil {
			return err
		}
		onA := traffic{pool: reloads.pool, rate: r.rate / 3, choose: to("a")}.start()
		onB := traffic{pool: reloads.pool, rate: r.rate / 3, choose: to("b")}.start()
		onC := traffic{pool: reloads.pool, rate: r.rate / 3, choose: reloads.chooseC}.start()
		n := r.times(1000, 60)
		for i := range n {
			reloads.one(planned(i), res)
			if err = sleep(ctx, 5*time.Millisecond); err != nil {
				break
			}
		}
		madeA, madeB, madeC := onA.stop(), onB.stop(), onC.stop()
		if err != nil {
			return err
		}
		gone := func(c call) bool { return unsent(c.err) && errors.Is(c.err, pool.ErrUnknownEnclave) }
		failed, excused, err := r.unexcused(ctx, slices.Concat(madeA.failed(), madeB.failed(), madeC.where(func(c call) bool {
			return c.err != nil && !gone(c)
		})), a, elsewhere, b, c)
		if err != nil {
			return err
		}
		for _, id := range []string{"a", "b", "c"} {
			_, wrong := failed.on(id).kinds(func(call) bool { return false })
			res.must(len(wrong) == 0, "calls to %s: %s", id, strings.Join(wrong, "; "))
		}
		caught, lost := 0, 0
		for _, at := range reloads.removed {
			inFlight := madeC.inFlight(at)
			caught, lost = caught+len(inFlight), lost+len(inFlight.where(func(c call) bool { return c.err != nil && !gone(c) }))
		}
		kinds, _ := madeC.kinds(nil)
		res.must(caught >= len(reloads.removed), "only %d calls were in flight at %d removals", caught, len(reloads.removed))
		res.say("%d reloads, %d of them rejected; a moved %d times, c was removed %d times", n, reloads.rejected, reloads.moved, len(reloads.removed))
		res.say("%d calls to a and b, failed: %d; in flight on c when it was removed: %d, failed: %d", len(madeA)+len(madeB),
			len(madeA.failed())+len(madeB.failed()), caught, lost)
		res.say("calls to c: %d, failed: %s", len(madeC), kinds)
		if excused > 0 {
			res.say("not counted: %d calls that were not sent while the machine was starved, and no connection could be made in time", excused)
		}
		res.timing("a reload that is applied: reading, parsing, Update", reloads.took)
		return settled(ctx, reloads, a, elsewhere, b, c)
	},
}

// unexcused are the failed calls for which there is no excuse. There is one for a call of which nothing was sent, because its
// enclave had just been put in place and the machine was so starved that it could not be connected to within the budget.
func (r *rig) unexcused(ctx context.Context, failed calls, enclaves ...*stack.Enclave) (left calls, excused int, err error) {
	for _, c := range failed {
		starved := false
		if unsent(c.err) && errors.Is(c.err, pool.ErrUnavailable) {
			if starved, err = r.starved(ctx, c.begin, c.end, enclaves...); err != nil {
				return nil, 0, err
			}
		}
		if starved {
			excused++
		} else {
			left = append(left, c)
		}
	}
	return left, excused, nil
}

// settled waits until nothing is left of what the reloads have removed: each enclave has the connections of the last
// configuration, and the one that "a" is not at has none.
func settled(ctx context.Context, r *reloads, a, elsewhere, b, c *stack.Enclave) error {
	cfg, err := r.load(reload{conns: conns}.lines())
	if err == nil {
		err = r.pool.Update(cfg)
	}
	if err != nil {
		return err
	}
	for _, id := range []string{"a", "b", "c"} {
		if _, err := awaitFull(ctx, r.pool, id); err != nil {
			return err
		}
	}
	deadline := time.Now().Add(patience)
	for e, want := range map[*stack.Enclave]int{a: conns, elsewhere: 0, b: conns, c: conns} {
		for {
			stats, err := e.Stats(ctx)
			switch {
			case err != nil:
				return err
			case int(stats.ConnectionsOpen) == want:
			case time.Now().After(deadline):
				return fmt.Errorf("%s: %d connections are open after the last reload, want %d", e.ID, stats.ConnectionsOpen, want)
			default:
				if err := sleep(ctx, 10*time.Millisecond); err != nil {
					return err
				}
				continue
			}
			break
		}
	}
	return nil
}

// reload is a content of the file.
type reload struct {
	elsewhere, withoutC bool
	conns               int    // 0: 8
	setting             string // one more line
	bad                 []string
}

// badLines are not valid, each for a reason of its own; the last because of what the pool says of it.
var badLines = []string{
	"SIGN_CONN_POOL_MXA=48", "SIGN_CONN_POOL_MIN=many", "SIGN_CONN_POOL_REQUEST_TIMEOUT=5", "SIGNER_ENCLAVES=a", "no assignment",
	"SIGN_CONN_POOL_HEALTH_TIMEOUT=0s",
}

// settingLines are settings that a reload changes on the connections that are there.
var settingLines = []string{
	"", "SIGN_CONN_POOL_MAX_CONCURRENT_STREAMS=50", "SIGN_CONN_POOL_REQUEST_TIMEOUT=10s", "SIGN_CONN_POOL_BACKOFF_INITIAL=10ms",
	"SIGN_CONN_POOL_MAX_WAITERS=1000",
}

// planned is the i-th reload.
func planned(i int) reload {
	out := reload{elsewhere: i/20%2 == 1, withoutC: i%4 >= 2, conns: 4 + i%3*4, setting: settingLines[i%len(settingLines)]}
	if i%10 == 9 {
		// It would also remove enclaves, move them and close connections, if it were not rejected as a whole.
		out.bad = []string{badLines[i/10%len(badLines)]}
		out.elsewhere, out.withoutC, out.conns = !out.elsewhere, true, 1
	}
	return out
}

// lines are the content, with names in place of targets.
func (r reload) lines() []string {
	target := "A"
	if r.elsewhere {
		target = "A2"
	}
	list := fmt.Sprintf("SIGNER_ENCLAVES=a=<%s>,b=<B>", target)
	if !r.withoutC {
		list += ",c=<C>"
	}
	if r.conns == 0 {
		r.conns = 8
	}
	// An assignment that is repeated would be an error of its own.
	out := []string{fmt.Sprint("SIGN_CONN_POOL_MAX=", r.conns)}
	for _, line := range append([]string{list, fmt.Sprint("SIGN_CONN_POOL_MIN=", r.conns), r.setting}, r.bad...) {
		name, _, _ := strings.Cut(line, "=")
		out = slices.DeleteFunc(out, func(other string) bool { return strings.HasPrefix(other, name+"=") })
		out = append(out, line)
	}
	return out
}

// reloads is a pool that is given one content of a file after another.
type reloads struct {
	path     string
	targets  map[string]string
	pool     *pool.Pool
	withoutC atomic.Bool // c is not there, or is about to go

	last            reload
	rejected, moved int
	removed         []time.Time // when c was
	took            []time.Duration
}

// chooseC sends to c while it is there, and to b otherwise.
func (r *reloads) chooseC() string {
	if r.withoutC.Load() {
		return "b"
	}
	return "c"
}

// load writes and reads the file.
func (r *reloads) load(lines []string) (pool.Config, error) {
	text := strings.Join(lines, "\n") + "\n"
	for name, target := range r.targets {
		text = strings.ReplaceAll(text, "<"+name+">", target)
	}
	if err := os.WriteFile(r.path, []byte(text), 0o600); err != nil {
		return pool.Config{}, err
	}
	return envconfig.Load(nil, r.path)
}

// one reloads, and sees whether that did what it has to.
func (r *reloads) one(next reload, res *Result) {
	before := sizesOf(r.pool)
	began := time.Now()
	cfg, err := r.load(next.lines())
	if err == nil {
		err = r.pool.Update(cfg)
	}
	took := time.Since(began)
	if len(next.bad) > 0 {
		r.rejected++
		res.must(errors.Is(err, pool.ErrConfig), "%q was not rejected: %v", next.bad, err)
		now := sizesOf(r.pool)
		res.must(maps.Equal(now, before), "%q was rejected, and changed %v to %v", next.bad, before, now)
		return
	}
	res.must(err == nil, "a valid file was rejected: %v", err)
	r.took = append(r.took, took)
	if next.withoutC && !r.last.withoutC {
		r.removed = append(r.removed, began.Add(took/2))
	}
	if next.elsewhere != r.last.elsewhere {
		r.moved++
	}
	r.withoutC.Store(next.withoutC)
	r.last = next
}

// sizesOf are the sizes that a pool keeps its enclaves at.
func sizesOf(p *pool.Pool) map[string][2]int {
	out := make(map[string][2]int)
	for id, s := range p.Stats().Enclaves {
		out[id] = [2]int{s.MinConns, s.MaxConns}
	}
	return out
}
