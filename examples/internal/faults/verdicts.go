package faults

import (
	"context"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	"github.com/enclavepool/enclavepool/examples/internal/stall"
	"github.com/enclavepool/enclavepool/pool"
)

// verdicts counts the connections that a pool ejects where it should not. It sets apart those of repetitions in which the
// machine was starved, that is in which this process, or an enclave, did not get a processor for a while: such an enclave
// cannot be told from one that is frozen.
type verdicts struct {
	r        *rig
	pool     *pool.Pool
	enclaves []*stack.Enclave

	before           uint64
	ejected, excused uint64
	repetitions      int
	starved          int // repetitions that were
}

// judge begins; the enclaves are those that nothing else keeps from running.
func judge(r *rig, p *pool.Pool, enclaves ...*stack.Enclave) *verdicts {
	return &verdicts{r: r, pool: p, enclaves: enclaves}
}

// ejections counts those of all enclaves of a pool.
func ejections(p *pool.Pool) (n uint64) {
	for _, e := range p.Stats().Enclaves {
		n += e.Ejections
	}
	return n
}

// repetition judges what has happened since a moment.
func (v *verdicts) repetition(ctx context.Context, from time.Time) error {
	now := ejections(v.pool)
	n := now - v.before
	v.before = now
	starved, err := v.r.starved(ctx, from, time.Now(), v.enclaves...)
	if err != nil {
		return err
	}
	v.repetitions++
	if starved {
		v.starved++
		v.excused += n
	} else {
		v.ejected += n
	}
	return nil
}

// watch judges so many times what happens in a second.
func (v *verdicts) watch(ctx context.Context, times int) error {
	for range times {
		from := time.Now()
		if err := sleep(ctx, v.r.lasting(time.Second, 500*time.Millisecond)); err != nil {
			return err
		}
		if err := v.repetition(ctx, from); err != nil {
			return err
		}
	}
	return nil
}

// starvation is how long stalls have to be, taken together, for a process to have been starved. It takes three health
// probes of 50 ms without an answer to eject a connection.
const starvation = 100 * time.Millisecond

// starved reports whether this process or one of the enclaves did not get a processor for a while.
func (r *rig) starved(ctx context.Context, from, to time.Time, enclaves ...*stack.Enclave) (bool, error) {
	lists := [][]stall.Stall{r.stalls.Stalls()}
	for _, e := range enclaves {
		stalls, err := e.Stalls(ctx)
		if err != nil {
			return false, err
		}
		lists = append(lists, stalls)
	}
	for _, l := range lists {
		// An ejection is the end of a silence that may have begun before.
		if lost, _ := stall.Sum(l, from.Add(-probing), to); lost >= starvation {
			return true, nil
		}
	}
	return false, nil
}

// probing is how long a silence lasts until a connection is ejected for it.
const probing = 250 * time.Millisecond

// excused reports whether connections to an enclave were ejected since a moment because the machine was starved; what its
// callers noticed of that is not held against anybody.
func (r *rig) excused(ctx context.Context, p *pool.Pool, e *stack.Enclave, from time.Time) (bool, error) {
	if p.Stats().Enclaves[e.ID].Ejections == 0 {
		return false, nil
	}
	return r.starved(ctx, from, time.Now(), e)
}

// report says what was counted.
func (v *verdicts) report(res *Result) {
	res.must(v.ejected == 0, "%d connections were ejected", v.ejected)
	res.say("ejected: %d", v.ejected)
	if v.starved == v.repetitions {
		res.notShown("anything: the machine was starved in all of the %d repetitions", v.starved)
	}
	if v.excused > 0 {
		res.say("not counted: %d ejected in the %d repetitions in which the machine was starved", v.excused, v.starved)
	}
}
