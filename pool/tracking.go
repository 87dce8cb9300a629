package pool

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"
)

// LeaseStats is a lease that is out, as WithLeaseTracking knows it.
type LeaseStats struct {
	// Since is when it was acquired.
	Since time.Time
	// Site is where: the first caller outside this package and outside gRPC's
	// generated code, as "file:line function".
	Site string
	// Conn is the index of the connection that it has its slot on.
	Conn int
}

// leaseTracker knows the leases that are out, and where they were acquired.
type leaseTracker struct {
	mu     sync.Mutex
	leases map[*Lease]*leaseRecord
}

type leaseRecord struct {
	since    time.Time
	callers  [16]uintptr
	n        int
	reported bool
}

// leaseWarning is how long a tracked lease may be out before it is logged.
const leaseWarning = time.Minute

func (t *leaseTracker) add(l *Lease) {
	r := &leaseRecord{since: time.Now()}
	r.n = runtime.Callers(3, r.callers[:])
	t.mu.Lock()
	if t.leases == nil {
		t.leases = map[*Lease]*leaseRecord{}
	}
	t.leases[l] = r
	t.mu.Unlock()
}

func (t *leaseTracker) remove(l *Lease) {
	t.mu.Lock()
	delete(t.leases, l)
	t.mu.Unlock()
}

// all returns the leases that are out, oldest first.
func (t *leaseTracker) all() []LeaseStats {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]LeaseStats, 0, len(t.leases))
	for l, r := range t.leases {
		out = append(out, LeaseStats{Since: r.since, Site: r.site(), Conn: l.conn.Load().index})
	}
	slices.SortFunc(out, func(a, b LeaseStats) int { return a.Since.Compare(b.Since) })
	return out
}

// overdue returns each lease once that has been out for leaseWarning, and when
// the next look is due; zero: none is out.
func (t *leaseTracker) overdue(now time.Time) (late []LeaseStats, next time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for l, r := range t.leases {
		switch due := r.since.Add(leaseWarning); {
		case r.reported:
		case !now.Before(due):
			r.reported = true
			late = append(late, LeaseStats{Since: r.since, Site: r.site(), Conn: l.conn.Load().index})
		case next.IsZero() || due.Before(next):
			next = due
		}
	}
	return late, next
}

// site names the caller that asked for the lease.
func (r *leaseRecord) site() string {
	frames := runtime.CallersFrames(r.callers[:r.n])
	first := ""
	for {
		f, more := frames.Next()
		at := fmt.Sprintf("%s:%d %s", f.File, f.Line, f.Function)
		if first == "" {
			first = at
		}
		if !isOurs(f.Function) {
			return at
		}
		if !more {
			return first
		}
	}
}

// isOurs tells whether a function is this package's own (its tests apart).
func isOurs(function string) bool {
	const prefix = meterName + "."
	return len(function) > len(prefix) && function[:len(prefix)] == prefix
}

// stepLeases logs leases that have been out for long.
func (k *keeper) stepLeases(now time.Time, next *alarm) {
	t := k.e.tracker
	if t == nil {
		return
	}
	late, due := t.overdue(now)
	for _, l := range late {
		k.e.log.Warn("lease has been out for long; is it ever released?", "conn", l.Conn, "since", l.Since, "site", l.Site)
	}
	if due.IsZero() {
		due = now.Add(leaseWarning) // leases come without telling the keeper
	}
	next.no(due)
}
