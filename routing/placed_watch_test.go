package routing_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/enclavepool/enclavepool/routing"
)

func TestMoveIsSeenByEverybodyWhoWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t)
		p, other := newPlaced(t, d), newPlaced(t, d)
		mustSelect(t, making, p, view("a"), "k", "a")
		v := view("a", "b")
		mustSelect(t, ctx, other, v, "k", "a")
		at, err := d.Lookup(ctx, "k")
		if err != nil {
			t.Fatal(err)
		}
		moved, err := d.Move(ctx, at, "b")
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		mustSelect(t, ctx, p, v, "k", "b")
		mustSelect(t, ctx, other, v, "k", "b")
		if err := d.Forget(ctx, moved); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := p.Select(ctx, v, "k"); !errors.Is(err, routing.ErrNotPlaced) {
			t.Error(err)
		}
		if n := other.Stats().Lookups; n != 1 {
			t.Errorf("%d lookups: a move is told, not asked for", n)
		}
		_ = p.Close()     // always nil, and before the bubble ends
		_ = other.Close() // the same
	})
}

// slow answers a lookup when it is told to; the answer is as of when it was asked.
type slow struct {
	routing.Directory
	asked, answer chan struct{}
}

func (s slow) Lookup(ctx context.Context, key string) (routing.Placement, error) {
	p, err := s.Directory.Lookup(ctx, key)
	s.asked <- struct{}{}
	<-s.answer
	return p, err
}

func TestAnswerThatAChangeOvertookIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t)
		at, _, err := d.Place(ctx, "k", "a")
		if err != nil {
			t.Fatal(err)
		}
		s := slow{d, make(chan struct{}), make(chan struct{})}
		p := newPlaced(t, s)
		v := view("a", "b")
		done := make(chan string)
		go func() {
			id, err := p.Select(ctx, v, "k")
			done <- fmt.Sprint(id, err)
		}()
		<-s.asked
		if _, err := d.Move(ctx, at, "b"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the change has gone by
		s.answer <- struct{}{}
		<-done // it may be told either
		if n := p.Stats().Kept; n != 0 {
			t.Errorf("%d places are kept", n)
		}
		go func() {
			<-s.asked
			s.answer <- struct{}{}
		}()
		mustSelect(t, ctx, p, v, "k", "b")
		_ = p.Close() // always nil, and before the bubble ends
	})
}

func TestKeyThatWasMadeWhileSomebodyElseAskedIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t)
		s := slow{d, make(chan struct{}, 2), make(chan struct{})}
		p := newPlaced(t, s)
		early, late := make(chan error), make(chan error)
		go func() { _, err := p.Select(ctx, view("a"), "k"); early <- err }()
		<-s.asked // and was told that there is none
		if _, _, err := d.Place(ctx, "k", "a"); err != nil {
			t.Fatal(err)
		}
		go func() { _, err := p.Select(ctx, view("a"), "k"); late <- err }()
		synctest.Wait() // late has joined early's question
		close(s.answer)
		<-early // it may be told either
		if err := <-late; err != nil {
			t.Error(err)
		}
		_ = p.Close() // always nil, and before the bubble ends
	})
}

func TestCallersWhoMissTogetherAskOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirectory(t)
		if _, _, err := d.Place(ctx, "k", "a"); err != nil {
			t.Fatal(err)
		}
		s := slow{d, make(chan struct{}, 1), make(chan struct{})}
		p := newPlaced(t, s)
		var wg sync.WaitGroup
		var left atomic.Int32
		for i := range 100 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				if i == 0 {
					cancel() // whoever asked first leaves; the others stay
				}
				if _, err := p.Select(ctx, view("a"), "k"); errors.Is(err, context.Canceled) {
					left.Add(1)
				} else if err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		close(s.answer)
		wg.Wait()
		if n := p.Stats().Lookups; n != 1 || left.Load() > 1 {
			t.Errorf("%d lookups, %d left", n, left.Load())
		}
		_ = p.Close() // always nil, and before the bubble ends
	})
}
