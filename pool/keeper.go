package pool

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc/connectivity"

	"github.com/enclavepool/enclavepool/breaker"
)

// keeper is the one goroutine that opens, admits and replaces an enclave's
// connections, and decides how many there are. Whatever happens to them is
// posted to it, in order; only what admission needs at once is done where it
// is noticed.
type keeper struct {
	e         *enclave
	places    []*place         // by index
	lastStart time.Time        // of an attempt
	failing   bool             // the last attempt that is over has failed
	allowance *rate.Limiter    // of attempts that wait for nothing
	held      bool             // draining: nothing is dialled
	refusing  breaker.Cooldown // of the enclave, when all of its connections are suspended
	stop      bool
	done      chan struct{}
	probes    sync.WaitGroup
	ctx       context.Context // of the probes
	cancel    context.CancelFunc
	outage    outage
	sizing    sizing
	rampAt    time.Time // when the limits are next doubled; zero: they are whole
	full      fullness
	probing   probing
	shunning  bool // the peer was rejected, and that has been said
	pulseAt   time.Time

	// Of starts, whose lock guards them.
	inLine bool // it waits for room for an attempt
	room   bool // it has been handed some

	mu   sync.Mutex
	mail []func(*keeper)
	wake chan struct{}
}

// outage is a total loss of connections, the one before the first included.
type outage struct {
	since time.Time // zero: there is a connection
	spent bool      // it has outlasted the budget
	// stalled is for how much of it this process has not run.
	stalled time.Duration
	// verdict: health probes ended it, not the transport. The enclave is tried
	// by one connection at a time then (half open).
	verdict bool
}

func newKeeper(e *enclave, now time.Time) *keeper {
	k := &keeper{e: e, outage: outage{since: now}, allowance: newAllowance(), done: make(chan struct{}), wake: make(chan struct{}, 1)}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	k.addPlaces(int(e.minConns.Load()), now)
	return k
}

// post hands f to the keeper's goroutine. It never blocks: what is posted is
// bounded by what connections can do.
func (k *keeper) post(f func(*keeper)) {
	k.mu.Lock()
	k.mail = append(k.mail, f)
	k.mu.Unlock()
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

func (k *keeper) run() {
	defer close(k.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for !k.stop {
		select {
		case <-k.wake:
		case <-timer.C:
		}
		k.mu.Lock()
		mail := k.mail
		k.mail = nil
		k.mu.Unlock()
		for _, f := range mail {
			f(k)
		}
		if k.stop {
			break
		}
		now := time.Now()
		var next alarm
		k.stepStall(now)
		k.stepPlaces(now, &next)
		k.stepOutage(now, &next)
		k.stepHealth(now, &next)
		k.stepRamp(now, &next)
		k.stepSizing(now, &next)
		k.stepFullness(now, &next)
		k.stepLeases(now, &next)
		k.stepPulse(now, &next)
		if !next.at.IsZero() {
			timer.Reset(next.at.Sub(now))
		}
	}
	k.probes.Wait()
}

// alarm is the earliest of the times it was told.
type alarm struct{ at time.Time }

func (a *alarm) no(t time.Time) {
	if a.at.IsZero() || t.Before(a.at) {
		a.at = t
	}
}

// stepPlaces starts the attempts that are due and ends those that are late.
func (k *keeper) stepPlaces(now time.Time, next *alarm) {
	for _, p := range k.places {
		if p.attempt != nil && !now.Before(p.attempt.deadline) {
			k.fail(p, p.attempt.why(&attemptTimeout{k.e.cfg.Load().dialTimeout, p.attempt.checking}), now)
		}
		if p.attempt == nil && !k.held {
			switch due, ok := k.due(p); {
			case !ok:
			case now.Before(due):
				next.no(due)
			default:
				if at := k.gate(p, now); now.Before(at) {
					next.no(at)
				} else if !k.mayStart(p) {
					// The keeper is woken when its turn has come.
				} else if k.start(p, now); p.attempt == nil {
					next.no(p.next)
				}
			}
		}
		if p.attempt != nil {
			next.no(p.attempt.deadline)
		}
	}
	k.e.starts.forgo(k)
}

// While an enclave is away its places share its attempts: whoever is next in
// the order of places makes one, every attemptPause, and no more than
// maxAttempts are under way. That finds out within attemptPause that it is
// back, and is all that a booting enclave has to bear: 50 attempts a second.
//
// Connections that are lost while others live are replaced at once, but
// maxReplacing at a time: when an enclave dies its connections are lost one
// after another, and each of them while others still seem to live.
const (
	attemptPause = 21 * time.Millisecond
	maxAttempts  = 4
	maxReplacing = 2
)

// gate returns when p, whose attempt is due, may make it.
func (k *keeper) gate(p *place, now time.Time) time.Time {
	if p.released {
		return now
	}
	under := 0
	for _, o := range k.places {
		if o.attempt != nil {
			under++
		}
	}
	most, at := maxReplacing, now
	away := k.failing || !k.outage.since.IsZero()
	if away {
		if most = maxAttempts; k.outage.verdict {
			most = 1
		}
	}
	if away || p.young && !p.allowed {
		at = k.lastStart.Add(attemptPause)
	}
	switch {
	case now.Before(at):
		return at
	case under >= most:
		return now.Add(attemptPause)
	case p.allowed:
	case away:
		k.allow(p, now) // granted or not: the pause is what bounds these
	case p.young && !k.allow(p, now):
		return now.Add(time.Second / allowedPerSecond)
	}
	return now
}

// due returns when p wants its next attempt; false: not as things stand.
func (k *keeper) due(p *place) (time.Time, bool) {
	switch {
	case p.conn == nil:
		return p.next, true
	case p.conn.retireAt.IsZero():
		return time.Time{}, false
	}
	for _, o := range k.places {
		if o.conn != nil && o.attempt != nil && !p.conn.warned {
			return time.Time{}, false // one is being replaced; its turn comes after
		}
	}
	if p.next.After(p.conn.retireAt) {
		return p.next, true
	}
	return p.conn.retireAt, true
}

// attemptTimeout is the cause when an attempt took longer than DialTimeout.
type attemptTimeout struct {
	after    time.Duration
	checking bool
}

func (e *attemptTimeout) Error() string {
	if e.checking {
		return fmt.Sprintf("connected, but no answer to the health check within DialTimeout (%v)", e.after)
	}
	return fmt.Sprintf("not connected within DialTimeout (%v)", e.after)
}

// Is makes it a context.DeadlineExceeded.
func (e *attemptTimeout) Is(err error) bool { return err == context.DeadlineExceeded }

// start makes one attempt to connect.
func (k *keeper) start(p *place, now time.Time) {
	c := newConn(k.e, p)
	c.startedAt = now
	c.deadline = now.Add(k.e.cfg.Load().dialTimeout)
	p.attempt, p.allowed = c, false
	k.lastStart = now
	k.e.dials.Add(1)
	sub, err := k.e.channel.Open(c)
	if err != nil {
		k.fail(p, err, now)
		return
	}
	c.sub = sub
	sub.Connect()
}

// stateChanged follows what gRPC says of a connection.
func (k *keeper) stateChanged(c *conn, state connectivity.State, err error) {
	p := c.place
	if c != p.attempt && c != p.conn {
		return // it has been given up
	}
	switch state {
	case connectivity.Ready:
		if c.gone {
			return // lost before it was known to be there; that is on its way
		}
		k.e.addOpen(c)
		c.checking = true
		k.check(c)
	case connectivity.Connecting:
	default:
		k.over(c, c.why(err), time.Now())
	}
}

// over is fail or lose, whichever c calls for.
func (k *keeper) over(c *conn, cause error, now time.Time) {
	if c == c.place.attempt {
		k.fail(c.place, cause, now)
	} else {
		k.lose(c.place, breaker.Lost, cause, now)
	}
}

// check asks a new connection for its health, and admits it if that is good.
func (k *keeper) check(c *conn) {
	if k.e.cfg.Load().health.Disabled {
		k.admit(c)
		return
	}
	// Its time is up when the attempt's is: the keeper sees to that.
	ctx, cancel := context.WithCancel(k.ctx)
	c.giveUp = cancel
	k.probes.Go(func() {
		defer cancel()
		err := k.e.probe(ctx, c.sub)
		k.post(func(k *keeper) {
			switch {
			case c != c.place.attempt:
			case err == nil:
				k.admit(c)
			default:
				k.fail(c.place, c.why(fmt.Errorf("health check: %w", err)), time.Now())
			}
		})
	})
}

// stepOutage ends the waiting of callers once the loss has lasted for the budget.
func (k *keeper) stepOutage(now time.Time, next *alarm) {
	if k.outage.since.IsZero() || k.outage.spent || k.held {
		return
	}
	if end := k.outage.since.Add(k.e.cfg.Load().reconnect.Budget + k.outage.stalled); now.Before(end) {
		next.no(end)
		return
	}
	k.outage.spent = true
	cause := k.e.status.Load().cause
	k.e.log.Error("enclave unavailable: reconnect budget spent, callers fail until it is back",
		"budget", k.e.cfg.Load().reconnect.Budget, "cause", errText(cause))
	k.e.setOutage(&Error{
		EnclaveID:  k.e.id,
		Reason:     ErrUnavailable,
		RetryAfter: k.e.cfg.Load().reconnect.Max,
		Cause:      cause,
	})
}

// gone forgets a connection whose socket is closed. gRPC says later, and by way
// of a queue of its own, that it is lost.
func (k *keeper) gone(c *conn) {
	c.gone = true
	if c == c.place.conn {
		k.lose(c.place, breaker.Lost, c.why(nil), time.Now())
	}
	k.e.removeOpen(c)
}

// shutdown cuts every connection, and ends the keeper.
func (k *keeper) shutdown() {
	k.cancel() // nobody waits for what the probes would still learn
	for _, c := range *k.e.open.Load() {
		c.cut()
	}
	for _, p := range k.places {
		if p.attempt != nil {
			k.abandon(p)
		}
	}
	k.e.starts.leave(k)
	k.stop = true
}
