package pool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"

	"pgregory.net/rapid"
)

// step is one thing that happens; who and limit are taken modulo what there is.
type step struct {
	what  string
	who   int
	limit int
}

var steps = rapid.Custom(func(t *rapid.T) step {
	return step{
		what:  rapid.SampledFrom([]string{"acquire", "acquire", "acquire expired", "give up", "release", "release", "limit"}).Draw(t, "what"),
		who:   rapid.IntRange(0, 100).Draw(t, "who"),
		limit: rapid.IntRange(0, 3).Draw(t, "limit"),
	}
})

// modelCaller is a caller of the reference, and what the real one got.
type modelCaller struct {
	id     int
	cancel context.CancelFunc
	result chan error
	lease  *Lease
}

// model is admission as one would write it with no thought for speed: slots
// per connection, a queue, and who holds what.
type model struct {
	e       *enclave
	limits  []int // by connection; 0 admits nobody
	used    []int
	queue   []*modelCaller
	holders []*modelCaller
	next    int
}

func newModel(limits []int) *model {
	m := &model{limits: slices.Clone(limits), used: make([]int, len(limits))}
	real := make([]uint32, len(limits))
	for i, l := range limits {
		real[i] = uint32(l)
	}
	m.e = newBareEnclave(real...)
	return m
}

func (m *model) free() bool {
	for i, limit := range m.limits {
		if m.used[i] < limit {
			return true
		}
	}
	return false
}

func (m *model) caller() (*modelCaller, context.Context) {
	ctx, cancel := context.WithCancel(context.Background())
	c := &modelCaller{id: m.next, cancel: cancel, result: make(chan error, 1)}
	m.next++
	return c, ctx
}

// do makes one step in both, and lets the real one come to rest.
func (m *model) do(s step) error {
	switch s.what {
	case "acquire":
		c, ctx := m.caller()
		go func() {
			l, err := m.e.acquire(ctx, untilBudget)
			c.lease = l
			c.result <- err
		}()
		m.queue = append(m.queue, c)
	case "acquire expired":
		c, ctx := m.caller()
		c.cancel()
		l, err := m.e.acquire(ctx, untilBudget)
		if want := len(m.queue) == 0 && m.free(); want != (err == nil) {
			return fmt.Errorf("expired caller: a slot to have: %v, got %v", want, err)
		}
		if err == nil {
			c.lease = l
			c.result <- nil
			return m.admit(c)
		}
		if !errors.Is(err, context.Canceled) {
			return err
		}
	case "give up":
		if len(m.queue) > 0 {
			i := s.who % len(m.queue)
			c := m.queue[i]
			m.queue = slices.Delete(m.queue, i, i+1)
			c.cancel()
			if err := <-c.result; !errors.Is(err, context.Canceled) {
				return fmt.Errorf("caller %d gave up and got %v", c.id, err)
			}
		}
	case "release":
		if len(m.holders) > 0 {
			i := s.who % len(m.holders)
			c := m.holders[i]
			m.holders = slices.Delete(m.holders, i, i+1)
			m.used[c.lease.conn.Load().index]--
			c.lease.Release()
			c.cancel()
		}
	case "limit":
		i := s.who % len(m.limits)
		m.limits[i] = s.limit
		(*m.e.admitted.Load())[i].slots.setLimit(uint32(s.limit))
		m.e.serve() // what the keeper does after a limit has risen
	}
	synctest.Wait()
	return m.compare()
}

// compare expects as many to have been served as there were slots, in the
// order of arrival, and nobody else.
func (m *model) compare() error {
	for len(m.queue) > 0 && m.free() {
		if err := m.admit(m.queue[0]); err != nil {
			return err
		}
		m.queue = m.queue[1:]
	}
	for _, c := range m.queue {
		select {
		case err := <-c.result:
			return fmt.Errorf("caller %d came back with %v; it has to wait", c.id, err)
		default:
		}
	}
	if n := m.e.queue.len(); n != len(m.queue) || (m.e.waiting.Load() > 0) != (n > 0) {
		return fmt.Errorf("%d queued, waiting = %d; want %d, and waiting positive exactly then", n, m.e.waiting.Load(), len(m.queue))
	}
	return nil
}

// admit expects c to have been served, on a connection with a slot free.
func (m *model) admit(c *modelCaller) error {
	select {
	case err := <-c.result:
		if err != nil {
			return fmt.Errorf("caller %d was refused: %w", c.id, err)
		}
	default:
		return fmt.Errorf("caller %d waits beside a free slot", c.id)
	}
	i := c.lease.conn.Load().index
	if m.used[i]++; m.used[i] > m.limits[i] {
		return fmt.Errorf("connection %d has %d of %d slots in use", i, m.used[i], m.limits[i])
	}
	m.holders = append(m.holders, c)
	return nil
}

// end gives everything back.
func (m *model) end() error {
	for _, c := range m.queue {
		c.cancel()
		<-c.result
	}
	for _, c := range m.holders {
		c.lease.Release()
		c.cancel()
	}
	if left := m.e.inFlight(); left != 0 || m.e.waiting.Load() != 0 {
		return fmt.Errorf("at the end %d slots in use, waiting = %d", left, m.e.waiting.Load())
	}
	return nil
}

// TestAdmissionAgreesWithAPlainReference lets callers come, give up and
// release while limits move, in every order that rapid can think of.
func TestAdmissionAgreesWithAPlainReference(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		limits := rapid.SliceOfN(rapid.IntRange(0, 3), 1, 4).Draw(rt, "limits")
		script := rapid.SliceOfN(steps, 0, 60).Draw(rt, "script")
		var failure error
		synctest.Test(t, func(*testing.T) {
			m := newModel(limits)
			for i, s := range script {
				if failure = m.do(s); failure != nil {
					failure = fmt.Errorf("step %d, %+v: %w", i, s, failure)
					break
				}
			}
			failure = errors.Join(failure, m.end())
		})
		if failure != nil {
			rt.Fatal(failure)
		}
	})
}
