package pool

import (
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/health"
	"github.com/enclavepool/enclavepool/internal/lb"
)

// probing is the keeper's memory for health probes.
type probing struct {
	acquires  uint64    // slots given out and exchanges begun when last looked
	since     time.Time // none has since then
	suspected time.Time // when a late answer last made all be asked
}

const (
	// dozeAfter is how long no slot has to be given out before the keeper stops
	// looking and is told by the next caller instead.
	dozeAfter = 250 * time.Millisecond
	// suspicious is the share of Health.Timeout, one in so many, after which an
	// answer is late.
	suspicious = 10
	// lookEvery is how often it looks until then.
	lookEvery = 25 * time.Millisecond
)

// wakeKeeper is called by the first caller after a rest.
func (e *enclave) wakeKeeper() {
	if e.dozing.CompareAndSwap(true, false) {
		e.keeper.post(func(k *keeper) {
			now := time.Now()
			k.probing.since = now
			for _, p := range k.places {
				if p.conn != nil {
					p.conn.monitor.Quiet(now)
				}
			}
		})
	}
}

// watch begins to follow the health of c, which was admitted now.
func (c *conn) watch(p health.Policy, now time.Time) {
	c.monitor = health.NewMonitor(p, now)
	c.monitor.Stagger(phase(c.enclave.id, c.index))
}

// phase spreads the idle probes of connections that were opened together over
// Health.Interval. At once they get into each other's way: from some hundreds of
// them on the answers are late for that alone, which looks like trouble and asks
// for more probes. Multiples of the golden ratio lie evenly however many there
// are; the hash keeps enclaves apart.
func phase(enclaveID string, index int) float64 {
	h := fnv.New32a()
	io.WriteString(h, enclaveID)
	_, share := math.Modf(float64(h.Sum32())/(1<<32) + float64(index)/math.Phi)
	return share
}

// signs are what can be told of c without asking.
func (c *conn) signs() health.Signs {
	used, _ := c.slots.load()
	s := health.Signs{InFlight: max(int(used)-c.idleWarm, 0)}
	if tap := c.tap.Load(); tap != nil {
		s.SinceRead = tap.SinceRead()
	}
	return s
}

// stepHealth probes the connections whose time has come.
func (k *keeper) stepHealth(now time.Time, next *alarm) {
	if k.e.cfg.Load().health.Disabled {
		return
	}
	if k.doze(now); !k.e.dozing.Load() {
		next.no(now.Add(lookEvery))
	}
	k.countIdle()
	for _, p := range k.places {
		c := p.conn
		if c == nil {
			continue
		}
		probe, wake := c.monitor.Step(now, c.signs())
		if probe {
			k.probe(c)
		}
		if !wake.IsZero() {
			next.no(wake)
		}
	}
}

// doze lets the next caller wake the keeper, once there has been none for a
// while. As with the queue, it announces first and looks after.
func (k *keeper) doze(now time.Time) {
	p := &k.probing
	if k.e.dozing.Load() {
		return
	}
	if n := k.e.acquires() + k.e.exchanges(); n != p.acquires || p.since.IsZero() {
		p.acquires, p.since = n, now
	}
	if now.Sub(p.since) < dozeAfter {
		return
	}
	k.e.dozing.Store(true)
	if k.e.acquires()+k.e.exchanges() != p.acquires {
		k.e.wakeKeeper()
	}
}

// probe sends a health check on c and hears the monitor's verdict.
func (k *keeper) probe(c *conn) {
	timeout := k.e.cfg.Load().health.Timeout
	k.probes.Go(func() {
		ctx, cancel := context.WithTimeout(k.ctx, timeout)
		defer cancel()
		ctx = untold{ctx}
		// An answer that is late makes the others be asked too: if one
		// connection is frozen, so are they, and may have been silent for longer.
		suspicion := time.AfterFunc(timeout/suspicious, func() {
			if c.unread() {
				return // it has answered: this process is the one that is late
			}
			k.post(func(k *keeper) { k.suspect(c, time.Now()) })
		})
		defer suspicion.Stop()
		result, err := health.NotSent, error(nil)
		if !c.crowded() {
			result, err = check(ctx, c.sub)
		}
		// Looked at here and now: until the keeper's turn comes it may have been read.
		late := result == health.TimedOut && c.unread()
		if result == health.Failed && (c.closed.Load() || !c.ready.Load()) {
			result = health.NotSent // it has gone, which is heard of by other ways
		}
		k.post(func(k *keeper) {
			if c.place.conn != c {
				return // it has gone in the meantime
			}
			now := time.Now()
			k.e.probes[result].Add(1)
			signs := c.signs()
			signs.Unread = late
			k.obey(c, c.monitor.Finish(now, result, signs), result, err, now)
		})
	})
}

// untold is a context whose deadline is not told to the enclave. As the header
// grpc-timeout it would be another value in every probe, and HPACK keeps values
// for the life of a connection, at both ends, until 4 KiB are full of them: on
// an idle connection some ten KiB of entries that are never used again.
type untold struct{ context.Context }

func (untold) Deadline() (time.Time, bool) { return time.Time{}, false }

// suspect is recheck before a probe on c is over, once in an Interval at most:
// an enclave that is merely slow must not be asked all the time.
func (k *keeper) suspect(c *conn, now time.Time) {
	if p := &k.probing; c.place.conn == c && now.Sub(p.suspected) >= k.e.cfg.Load().health.Interval {
		p.suspected = now
		k.recheck(c, now)
	}
}

// crowded tells whether a probe on c would have to take a call's stream: the
// server allows one stream only, and it is in use.
func (c *conn) crowded() bool {
	c.mu.Lock()
	one := c.advertised >= 0 && c.advertised <= 1
	c.mu.Unlock()
	used, _ := c.slots.load()
	return one && used > 0
}

// obey carries out what the monitor says of c.
func (k *keeper) obey(c *conn, v health.Verdict, result health.Result, err error, now time.Time) {
	e := k.e
	if result == health.TimedOut {
		k.recheck(c, now) // if it is frozen, so are the others
	}
	switch v {
	case health.Suspend:
		e.log.Warn("connection out of rotation", "conn", c.index, "cause", errText(err))
		c.suspended = true
		c.rest(err)
		c.deny()
		e.withdraw(c)
		k.mark(c.place, breaker.Suspended, err, now)
		k.lostLast(breaker.Suspended, err, now)
		k.restAll(now)
		k.recheck(c, now) // what one was told most likely holds for the others
		e.changed()
	case health.Restore:
		k.restore(c, now)
	case health.Eject:
		e.ejections.Add(1)
		cause := fmt.Errorf("ejected after %d failed health probes, the last %v", e.cfg.Load().health.FailureThreshold, result)
		if err != nil {
			cause = fmt.Errorf("%w: %w", cause, err)
		}
		c.note(cause)
		// Its socket goes first: whoever waits for it learns at once.
		c.cut()
		k.lose(c.place, breaker.Ejected, cause, now)
	}
}

// restAll makes an enclave whose last connection has just been suspended rest as
// a whole: those that were suspended before the last one do not come back before
// it, and all of them rest for longer if the enclave keeps changing its mind.
func (k *keeper) restAll(now time.Time) {
	if len(*k.e.admitted.Load()) > 0 {
		return
	}
	k.refusing.Base = k.e.cfg.Load().health.Cooldown
	until := now.Add(k.refusing.Trip(now))
	for _, p := range k.places {
		if p.conn != nil {
			p.conn.monitor.Rest(until)
		}
	}
}

// restore puts a suspended connection back into rotation.
func (k *keeper) restore(c *conn, now time.Time) {
	e := k.e
	c.suspended = false
	cause := c.rest(nil)
	if c.ready.Load() && e.publish(c) {
		e.log.Info("connection back in rotation", "conn", c.index, "cause", errText(cause))
		k.mark(c.place, breaker.Restored, nil, now)
		if !k.outage.since.IsZero() {
			k.recovered(c, breaker.Restored, cause, now)
		}
		e.changed()
		e.serve()
	}
}

// recheck makes the other connections be probed soon.
func (k *keeper) recheck(but *conn, now time.Time) {
	for _, p := range k.places {
		if p.conn != nil && p.conn != but {
			p.conn.monitor.Recheck(now)
		}
	}
}

// check asks for the health of the whole server, on one connection. The error
// says what was wrong, where something was.
func check(ctx context.Context, sub *lb.Conn) (health.Result, error) {
	// The stream is opened by itself, since it may find the server's limit
	// used up; that it then waits in vain says nothing of the server.
	s, err := sub.NewStream(ctx, &grpc.StreamDesc{StreamName: "Check"}, grpc_health_v1.Health_Check_FullMethodName)
	if err != nil {
		return health.NotSent, err
	}
	var reply grpc_health_v1.HealthCheckResponse
	err = s.SendMsg(&grpc_health_v1.HealthCheckRequest{})
	if err == nil {
		err = s.CloseSend()
	}
	if err == nil {
		err = s.RecvMsg(&reply)
	}
	switch code := status.Code(err); {
	case err == nil && reply.Status == grpc_health_v1.HealthCheckResponse_SERVING:
		return health.Serving, nil
	case err == nil:
		return health.NotServing, fmt.Errorf("the enclave says %v", reply.Status)
	case code == codes.Unimplemented:
		return health.Unimplemented, nil
	case ctx.Err() != nil:
		return health.TimedOut, err
	case refused(err):
		return health.NotSent, err
	default:
		return health.Failed, brief(err)
	}
}

// maxCause is how much of an enclave's own words goes into logs and errors.
const maxCause = 256

// brief is a status whose text an enclave has chosen, made fit for a log.
func brief(err error) error {
	s := status.Convert(err)
	text := s.Message()[:min(len(s.Message()), maxCause)]
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '.'
		}
		return r
	}, text)
	return status.Error(s.Code(), text)
}

// probe is check for a connection that is not admitted yet: it has to answer,
// and well. A server without the health service says nothing of how it is: that
// it answers at all, with UNIMPLEMENTED, is the sign that is taken instead.
func (e *enclave) probe(ctx context.Context, sub *lb.Conn) error {
	switch r, err := check(ctx, sub); {
	case r == health.Serving:
		return nil
	case r == health.Unimplemented:
		if e.mute.CompareAndSwap(false, true) {
			e.log.Info("the enclave has no health service; whether it answers at all decides")
		}
		return nil
	case err != nil:
		return err
	default:
		return fmt.Errorf("health check %v", r)
	}
}
