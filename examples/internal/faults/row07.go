package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
)

// row7 stops the process that has the pool. When it goes on, answers have been waiting for it all the time, and timers are
// long overdue: nothing of which is the enclaves' fault.
var row7 = row{
	number: 7,
	fault:  "the gateway process itself stalls 500 ms",
	held:   "0 false ejections",
	how: "The pool and its callers run in a process of their own that gets SIGSTOP for 500 ms; it counts the ejections in its " +
		"Pool.Stats.",
	run: func(ctx context.Context, r *rig, res *Result) error {
		a, b, err := r.enclaves(ctx)
		if err != nil {
			return err
		}
		if r.child == nil {
			return errors.New("no child environment in the Config")
		}
		self, err := os.Executable()
		if err != nil {
			return err
		}
		task, err := json.Marshal(errand{Targets: map[string]string{a.ID: a.Target, b.ID: b.Target}, Rate: r.rate / 2})
		if err != nil {
			return err
		}
		child, err := stack.Start(ctx, "the child", self, filepath.Join(r.dir, "child.log"), append(r.child, ChildEnv+"="+string(task)))
		if err != nil {
			return err
		}
		defer child.Kill()
		type repetition struct {
			from, to time.Time
			starved  bool
		}
		var reps []repetition
		times := r.times(20, 2)
		for range times {
			rep := repetition{from: time.Now()}
			if err := row7Once(ctx, child); err != nil {
				return err
			}
			rep.to = time.Now()
			if rep.starved, err = r.starved(ctx, rep.from, rep.to, a, b); err != nil {
				return err
			}
			reps = append(reps, rep)
		}
		ending, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if err := child.Stop(ending); err != nil {
			return err
		}
		var seen account
		if err := json.Unmarshal([]byte(child.LogTail(1)), &seen); err != nil {
			return fmt.Errorf("%w; the child said:\n%s", err, child.LogTail(10))
		}
		ejected, excused, starved := 0, 0, 0
		for _, rep := range reps {
			if rep.starved {
				starved++
			}
			for _, at := range seen.Ejected {
				switch {
				case at.Before(rep.from) || at.After(rep.to):
				case rep.starved:
					excused++
				default:
					ejected++
				}
			}
		}
		res.must(ejected == 0, "%d connections were ejected", ejected)
		res.must(seen.Stalls >= times, "the child noticed %d stalls of %d", seen.Stalls, times)
		res.must(seen.Failed == 0 || excused > 0 || ejected > 0, "calls failed: %s", seen.Kinds)
		res.say("%d stalls of 500 ms, ejected: %d, dials beyond the first: %d", times, ejected, seen.Dials-2*conns)
		if excused > 0 {
			res.say("not counted: %d ejected in the %d repetitions in which the machine was starved", excused, starved)
		}
		res.say("%d calls, failed: %s", seen.Calls, seen.Kinds)
		return nil
	},
}

func row7Once(ctx context.Context, child *stack.Process) error {
	if err := sleep(ctx, 300*time.Millisecond); err != nil {
		return err
	}
	if err := child.Freeze(); err != nil {
		return err
	}
	err := sleep(ctx, 500*time.Millisecond)
	if more := child.Thaw(); err == nil {
		err = more
	}
	if err != nil {
		return err
	}
	return sleep(ctx, 400*time.Millisecond)
}
