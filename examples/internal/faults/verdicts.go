package faults

import (
	"time"

	"github.com/enclavepool/enclavepool/pool"
)

// starvedCall is how long a call to an enclave takes to which nothing is done, and which shares the machine, when that
// enclave did not get a processor: half of what the pool gives it to answer a health probe.
const starvedCall = 25 * time.Millisecond

// verdicts counts the connections that a pool ejects where it should not. It sets apart those of repetitions in which the
// machine was starved: this process stalled, or an enclave that nothing was done to was slow to answer. A process that
// does not get a processor cannot be told from one that is frozen.
type verdicts struct {
	r    *rig
	pool *pool.Pool

	from   time.Time
	before uint64

	ejected, excused uint64
	starved          int // repetitions that were
}

func newVerdicts(r *rig, p *pool.Pool) *verdicts { return &verdicts{r: r, pool: p} }

func (v *verdicts) count() (n uint64) {
	for _, e := range v.pool.Stats().Enclaves {
		n += e.Ejections
	}
	return n
}

// begin begins a repetition.
func (v *verdicts) begin() { v.from, v.before = time.Now(), v.count() }

// end ends it; reference are the calls to an enclave that nothing was done to.
func (v *verdicts) end(reference calls) {
	n := v.count() - v.before
	starved := v.r.stalls.within(v.from, time.Now()) || reference.slowest() > starvedCall
	if starved {
		v.starved++
		v.excused += n
		return
	}
	v.ejected += n
}

// report says what was counted.
func (v *verdicts) report(res *Result) {
	res.must(v.ejected == 0, "%d connections were ejected", v.ejected)
	res.say("ejected: %d", v.ejected)
	if v.excused > 0 {
		res.say("not counted: %d ejected in the %d repetitions in which the machine was starved", v.excused, v.starved)
	}
}
