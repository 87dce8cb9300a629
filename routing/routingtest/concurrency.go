package routingtest

import (
	"cmp"
	"fmt"
	"sync"

	"github.com/enclavepool/enclavepool/routing"
)

const callers = 8

// concurrency: callers at the same time get valid answers, the same for the
// same key, and those that a caller alone gets.
func (s *suite) concurrency() error {
	ms := enclaves(8)
	sel, v := s.newSelector(), routing.NewView(1, ms...)
	got := make([][]string, callers)
	err := together(func(caller int) error {
		var err error
		got[caller], err = s.chooseAll(sel, v)
		return err
	})
	if err != nil {
		return err
	}
	if !s.keyless {
		if !s.local {
			alone, err := s.chooseAll(s.newSelector(), v)
			if err != nil {
				return err
			}
			got = append(got, alone)
		}
		for _, ids := range got[1:] {
			for i := range ids {
				if ids[i] != got[0][i] {
					return fmt.Errorf("callers at the same time send key %q to %q and to %q", s.key(i), got[0][i], ids[i])
				}
			}
		}
	}
	// Some still have the old View while others have the new one.
	views := []*routing.View{v, routing.NewView(2, ms[1:]...), routing.NewView(3, with(ms[1:], 0, cordoned)...)}
	return together(func(caller int) error {
		_, err := s.chooseAll(sel, views[caller%len(views)])
		return err
	})
}

// together calls f for each caller in a goroutine of its own.
func together(f func(caller int) error) error {
	errs := make([]error, callers)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() { errs[i] = guarded(func() error { return f(i) }) })
	}
	wg.Wait()
	return cmp.Or(errs...) // one is enough
}
