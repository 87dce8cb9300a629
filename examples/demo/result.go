package main

import (
	"fmt"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/load"
	"github.com/enclavepool/enclavepool/pool"
)

// result is what the demonstration has seen.
type result struct {
	Transport string
	Callers   int
	Elapsed   time.Duration
	Enclaves  []string // their IDs
	Victim    string   // the one that was killed

	// WarmUp, Before, During and After are the phases' loads by enclave. The victim's load in During ends before its restart,
	// and Return is the one that begins then.
	WarmUp, Before, During, After map[string]*load.Report
	Return                        *load.Report
	// Manages is how many calls per second there were in WarmUp, as many as the callers could make.
	Manages float64
	// Final counts failed calls of which the gateway did not say that a retry may help.
	Final uint64

	// Killed, Restarting, Listening and Signing are the moments, since the start of the load, at which the victim was
	// killed, its process was started again and said that it listens, and a signature with a key of its was verified
	// again. Zero: it did not happen.
	Killed, Restarting, Listening, Signing time.Duration
	// Wanted is how many connections each enclave has at least.
	Wanted int
	// Opened counts the connections that each enclave accepted during the load, the victim's up to its death;
	// Reopened those of its new process.
	Opened   map[string]uint64
	Reopened uint64
	// EarlyFailures counts the victim's calls that failed before it was killed.
	EarlyFailures uint64
	// Conns are the gateway's active_conns over time.
	Conns []connsAt
	// Strict is who served the calls to sign, as the gateway counts them, with the warm-up.
	Strict course
	// Spill is the second act.
	Spill *spilled
	// Problems are what else went wrong.
	Problems []string
}

// connsAt is the gateway's active_conns by enclave, at a time since the start of the load.
type connsAt struct {
	At    time.Duration
	Conns map[string]int
}

// reports are all loads.
func (r *result) reports() []*load.Report {
	var all []*load.Report
	for _, phase := range []map[string]*load.Report{r.WarmUp, r.Before, r.During, r.After} {
		for _, id := range r.Enclaves {
			all = append(all, phase[id])
		}
	}
	return append(all, r.Return)
}

// signatures are those of all loads together.
func (r *result) signatures() load.Signatures {
	var sum load.Signatures
	for _, l := range r.reports() {
		sum.Made += l.Signatures.Made
		sum.Verified += l.Signatures.Verified
		sum.Invalid += l.Signatures.Invalid
		if sum.Example == "" {
			sum.Example = l.Signatures.Example
		}
	}
	return sum
}

// full returns when, at the latest, the victim had all its connections again: the first look at them that found so.
func (r *result) full() (time.Duration, bool) {
	for _, c := range r.Conns {
		if c.At > r.Restarting && r.Restarting > 0 && c.Conns[r.Victim] >= r.Wanted {
			return c.At, true
		}
	}
	return 0, false
}

// probeTimeout is how long the gateway waits for the answer to a health probe.
var probeTimeout = pool.DefaultConfig().Health.Timeout

// slow reports whether calls took longer than the gateway waits for a health probe. On such a machine, an emulated one
// say, healthy connections look dead for want of a processor, and it is right to replace them.
func (r *result) slow() bool {
	for _, l := range r.reports() {
		if l.Latency.P99 > probeTimeout {
			return true
		}
	}
	return r.Spill.Slowest > probeTimeout
}

// lowest is the smallest number of active connections of an enclave.
func (r *result) lowest(id string) int {
	n := r.Wanted
	for _, c := range r.Conns {
		n = min(n, c.Conns[id])
	}
	return n
}

// failings returns all that is not as it should be.
func (r *result) failings() []string {
	var out []string
	bad := func(is bool, format string, args ...any) {
		if is {
			out = append(out, fmt.Sprintf(format, args...))
		}
	}
	s := r.signatures()
	bad(s.Invalid > 0, "%d signatures do not verify, such as: %s", s.Invalid, s.Example)
	bad(s.Verified != s.Made, "%d of %d signatures were verified", s.Verified, s.Made)
	for _, id := range r.Enclaves {
		for _, p := range []struct {
			name  string
			loads map[string]*load.Report
		}{{"long before", r.WarmUp}, {"before", r.Before}, {"during", r.During}, {"after", r.After}} {
			l := p.loads[id]
			if id == r.Victim && p.name == "during" {
				continue
			}
			bad(l.Succeeded == 0, "%s made no signature %s the fault", id, p.name)
			if p.name == "long before" && r.slow() {
				continue // as hard as the callers can, so hard that an enclave may not get a processor for its probes
			}
			bad(l.Failed > 0, "%d calls to %s failed %s the fault: %s", l.Failed, id, p.name, examples(l))
		}
		bad(r.Opened[id] > 0 && !r.slow(), "%d connections to %s were opened during the load", r.Opened[id], id)
		if id != r.Victim {
			bad(r.lowest(id) < r.Wanted && !r.slow(), "%s had only %d active connections for a while", id, r.lowest(id))
		}
		if n := len(r.Conns); n > 0 {
			last := r.Conns[n-1].Conns[id]
			bad(last < r.Wanted && !(r.slow() && last > 0), "%s has %d active connections at the end", id, last)
		}
	}
	bad(len(r.Conns) == 0, "the gateway's metrics could not be read")
	bad(r.Final > 0, "of %d failed calls the gateway did not say that a retry may help", r.Final)
	bad(r.EarlyFailures > 0, "%d calls to %s failed before it was killed", r.EarlyFailures, r.Victim)
	bad(r.Signing == 0, "the keys of %s do not sign again", r.Victim)
	bad(r.Return.Succeeded == 0, "%s made no signature when it was back", r.Victim)
	bad(r.Return.Failed > 0, "%d calls to %s failed when it was back: %s", r.Return.Failed, r.Victim, examples(r.Return))
	out = append(out, r.Spill.failings(r.slow())...)
	return append(out, r.Problems...)
}

// failings returns what is not as it should be in the second act. On a slow machine an enclave may seem to be lost though
// it is not, and then its keys are looked for elsewhere.
func (a *spilled) failings(slow bool) []string {
	var out []string
	bad := func(is bool, format string, args ...any) {
		if is {
			out = append(out, spillPolicy+": "+fmt.Sprintf(format, args...))
		}
	}
	made := 0
	for _, n := range a.New {
		made += n
	}
	bad(a.Signatures.Verified != a.Signatures.Made, "%d of %d signatures were verified: %s", a.Signatures.Verified, a.Signatures.Made, a.Signatures.Example)
	bad(a.Signatures.Made == 0, "nothing was signed")
	bad(a.New[victim] > 0 || made == 0, "new keys were not created elsewhere: %v", a.New)
	if slow {
		return out
	}
	bad(a.Unexpected > 0, "%d calls failed that should not have, such as %s", a.Unexpected, a.Example)
	bad(a.Stayed != made, "%d of %d new keys stayed where they were created", a.Stayed, made)
	bad(a.Unknown != made, "the strict gateway finds %d of %d new keys", made-a.Unknown, made)
	bad(a.Back != a.Old, "%d of %d old keys are back", a.Back, a.Old)
	bad(a.NotFound == 0, "no old key was missed during the outage")
	bad(a.Later != victim, "a key was created in %s after the outage", a.Later)
	return out
}

// examples is the message of one error of each kind.
func examples(l *load.Report) string {
	text := ""
	for kind, e := range l.Errors {
		text += fmt.Sprintf("[%s: %s]", kind, e.Example)
	}
	return text
}
