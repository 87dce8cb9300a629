package pool

import (
	"context"
	"errors"
	"testing"

	"github.com/enclavepool/enclavepool/internal/lb"
)

// strandedCall is inside gRPC with a slot on connection a, which has been lost
// before anything was sent. Connection b is about to be admitted, one slot each.
func strandedCall(t *testing.T) (e *enclave, a, b *conn, c *call) {
	t.Helper()
	e = newBareEnclave(1)
	e.channel = &lb.Channel{}
	a = (*e.admitted.Load())[0]
	l, err := e.lease(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	l.state.Store(leaseBusy)
	a.ready.Store(false)
	a.deny()
	e.withdraw(a)
	b = newConn(e, &place{index: 1})
	b.sub = &lb.Conn{}
	b.ready.Store(true)
	e.addOpen(b)
	e.cfg.Load().maxStreams = 1
	c = &call{Context: context.Background(), lease: l}
	if _, err := c.Pick(); err != lb.ErrWait {
		t.Fatalf("Pick = %v, want it to wait", err)
	}
	return e, a, b, c
}

func TestAStrandedCallIsServedAndAskedAgainAtOnceAndHasOneSlot(t *testing.T) {
	for range 20_000 {
		e, a, b, c := strandedCall(t)
		done := make(chan struct{})
		go func() {
			e.publish(b)
			e.serve()
			close(done)
		}()
		sub, err := c.Pick() // another connection's change of state has refreshed the channel
		<-done
		if err == lb.ErrWait {
			sub, err = c.Pick()
		}
		if err != nil || sub != b.sub {
			t.Fatalf("Pick = %v, want the new connection", err)
		}
		e.settle(c)
		c.lease.finish()
		usedA, _ := a.slots.load()
		if usedB, _ := b.slots.load(); usedA != 0 || usedB != 0 || e.inFlight() != 0 {
			t.Fatalf("at the end %d and %d slots in use, %d in flight", usedA, usedB, e.inFlight())
		}
	}
}

func TestAStrandedCallThatEndsLeavesTheQueue(t *testing.T) {
	e, a, b, c := strandedCall(t)
	e.settle(c)
	c.lease.finish()
	e.publish(b)
	e.serve()
	usedA, _ := a.slots.load()
	if usedB, _ := b.slots.load(); usedA != 0 || usedB != 0 || e.queue.len() != 0 || e.waiting.Load() != 0 {
		t.Errorf("%d and %d slots in use, %d queued, waiting %d", usedA, usedB, e.queue.len(), e.waiting.Load())
	}
}

func TestAStrandedCallIsToldWhenTheBudgetIsSpent(t *testing.T) {
	e, _, _, c := strandedCall(t)
	e.setOutage(&Error{EnclaveID: e.id, Reason: ErrUnavailable})
	if _, err := c.Pick(); err == nil || err == lb.ErrWait {
		t.Errorf("Pick = %v, want the outage", err)
	}
	if e.queue.len() != 0 {
		t.Errorf("%d queued", e.queue.len())
	}
}

// gRPC takes a moment to see that a socket is closed, and repeats what it cannot
// send there for as long as it is told to.
func TestACallIsNotSentWhereTheSocketIsClosed(t *testing.T) {
	for name, c := range map[string]struct {
		others  []uint32 // limits
		closing bool
		want    func(others []*conn, sub *lb.Conn, err error) bool
	}{
		"elsewhere if there is room": {others: []uint32{1}, want: func(o []*conn, sub *lb.Conn, err error) bool { return err == nil && sub == o[0].sub }},
		"or it waits":                {want: func(_ []*conn, _ *lb.Conn, err error) bool { return err == lb.ErrWait }},
		"or ends, with the pool":     {closing: true, want: func(_ []*conn, _ *lb.Conn, err error) bool { return errors.Is(err, ErrClosed) }},
	} {
		t.Run(name, func(t *testing.T) {
			for _, repeated := range []bool{false, true} {
				e := newBareEnclave(1)
				e.channel = &lb.Channel{}
				l, err := e.lease(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				l.state.Store(leaseBusy)
				var others []*conn
				for _, limit := range c.others {
					o := newConn(e, &place{index: 1})
					o.sub = &lb.Conn{}
					o.ready.Store(true)
					e.cfg.Load().maxStreams = int(limit)
					e.publish(o)
					others = append(others, o)
				}
				e.closed = c.closing
				call := &call{Context: context.Background(), lease: l}
				old := l.conn.Load()
				old.sub = &lb.Conn{}
				if repeated {
					if sub, err := call.Pick(); err != nil || sub != old.sub {
						t.Fatalf("while it is open, Pick = %v, %v; want the lease's own", sub, err)
					}
				}
				old.cut() // and gRPC has not said a word
				if sub, err := call.Pick(); !c.want(others, sub, err) {
					t.Errorf("repeated %v: Pick = %v, %v", repeated, sub, err)
				}
			}
		})
	}
}
