package pool

import (
	"sync/atomic"

	"github.com/enclavepool/enclavepool/health"
)

// record is what is kept of an enclave's ID whatever becomes of the enclave: a
// reload may remove it, bring it back, or move it to another target, and none
// of these numbers ever falls.
type record struct {
	seq   atomic.Uint64 // of the last event
	epoch atomic.Uint64

	dials, reconnects, exhausted, ejections atomic.Uint64
	resets                                  [resetCodes]atomic.Uint64 // by code
	attempts                                [len(attemptResults)]atomic.Uint64
	probes                                  [health.Results]atomic.Uint64 // by result
	retired                                 atomic.Uint64                 // slots ever reserved on connections no longer open
	exchanged                               atomic.Uint64                 // exchanges ever begun on streams of sets that have gone
	waits                                   waitTally
}

// record returns that of an ID. New and Update alone call it, one at a time.
func (p *Pool) record(id string) *record {
	if p.records == nil {
		p.records = map[string]*record{}
	}
	r := p.records[id]
	if r == nil {
		r = new(record)
		p.records[id] = r
	}
	return r
}
