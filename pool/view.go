package pool

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/routing"
)

// View returns how the enclaves are now, for a routing.Selector: each with its
// state, weight and load, whether it is cordoned, and its epoch, which grows
// whenever the first connection is made after all were lost, since the enclave
// may have been restarted in between. Seq grows from each View to the next.
func (p *Pool) View() *routing.View {
	return p.views.renew(p)
}

// views makes Views, and keeps the last one for those who can do with loads
// that are a moment old.
type views struct {
	changes atomic.Uint64 // of states and cordons
	last    atomic.Pointer[keptView]
	mu      sync.Mutex // held to make one
}

type keptView struct {
	*routing.View
	changes uint64
	at      time.Time
}

// staleAfter is how old the loads in a View may get that routed calls share.
// Their states are never old.
const staleAfter = 5 * time.Millisecond

// recent returns a View whose states are those of now.
func (vs *views) recent(p *Pool) *routing.View {
	last, changes := vs.last.Load(), vs.changes.Load()
	if last == nil || last.changes != changes {
		return vs.renew(p)
	}
	if time.Since(last.at) > staleAfter && vs.mu.TryLock() {
		defer vs.mu.Unlock()
		return vs.renewLocked(p)
	}
	return last.View
}

func (vs *views) renew(p *Pool) *routing.View {
	vs.mu.Lock()
	defer vs.mu.Unlock()
	return vs.renewLocked(p)
}

func (vs *views) renewLocked(p *Pool) *routing.View {
	changes := vs.changes.Load() // first: what changes from here on is in the next
	all := p.all()
	members := make([]routing.Member, len(all))
	for i, e := range all {
		members[i] = e.member()
	}
	var before *routing.View
	if last := vs.last.Load(); last != nil {
		before = last.View
	}
	v := before.Next(before.Seq()+1, members...)
	vs.last.Store(&keptView{v, changes, time.Now()})
	return v
}

// member is the enclave as selectors see it.
func (e *enclave) member() routing.Member {
	st := e.status.Load()
	used, capacity := e.usage()
	used = max(used-e.idleWarm(), 0) // they give way
	state := st.state
	e.mu.Lock()
	if e.draining || e.closed {
		state = breaker.Draining // the keeper may not have come to it yet
	}
	e.mu.Unlock()
	return routing.Member{
		ID: e.id, Weight: int(e.weight.Load()), State: state, Cordoned: e.cordoned.Load(), Epoch: st.epoch,
		InFlight: used, Capacity: capacity,
	}
}

// Cordon marks an enclave in the View, so that selectors give it no new keys.
// Calls for the keys that it has go on. Cordoning one that is cordoned does
// nothing.
func (p *Pool) Cordon(enclaveID string) error { return p.cordon(enclaveID, true) }

// Uncordon takes Cordon back.
func (p *Pool) Uncordon(enclaveID string) error { return p.cordon(enclaveID, false) }

func (p *Pool) cordon(enclaveID string, cordoned bool) error {
	e, err := p.enclave(enclaveID)
	if err != nil {
		return err
	}
	if e.isClosed() {
		return &Error{EnclaveID: e.id, Reason: ErrClosed}
	}
	if e.cordoned.Swap(cordoned) != cordoned {
		p.views.changes.Add(1)
		e.log.Info("cordon changed", "cordoned", cordoned)
	}
	return nil
}
