package pool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/keepalive"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/health"
	"github.com/enclavepool/enclavepool/internal/lb"
	"github.com/enclavepool/enclavepool/internal/target"
	"github.com/enclavepool/enclavepool/reconnect"
)

// enclave is a named set of connections to one target, and the queue for them.
type enclave struct {
	*record
	id            string
	target        string        // as configured
	parsed        target.Target // zero with WithDialer
	authority     string
	cfg           atomic.Pointer[settings]
	opts          *options
	log           *slog.Logger
	metrics       *enclaveMetrics
	events        *events
	views         *views
	starts        *starts
	channel       *lb.Channel
	configWaits   bool // the service config may set waitForReady
	configRetries bool // the service config may have a retry policy
	keeper        *keeper
	tracker       *leaseTracker // nil: leases are not tracked

	// began is what waits are measured from.
	began time.Time
	// admitted are the connections that callers may use; open are those whose
	// socket is open, with the ones that only finish what they have. Both are
	// replaced, never changed, under mu.
	admitted atomic.Pointer[[]*conn]
	open     atomic.Pointer[[]*conn]
	orphans  atomic.Pointer[[]*conn] // closed, with slots that have not come back yet
	status   atomic.Pointer[enclaveStatus]
	warm     atomic.Pointer[[]*warmSet] // streams kept open
	yielding atomic.Int32               // slots that idle ones of them are giving up

	// How many connections there may be, and are decided on.
	minConns, maxConns, wanted atomic.Int32
	weight                     atomic.Int32
	cordoned                   atomic.Bool
	pressed                    atomic.Bool  // the keeper has been told of load
	ramp                       atomic.Int32 // limits are halved this many times
	full                       atomic.Bool  // every slot is taken and there will be no more

	dozing  atomic.Bool  // the keeper wants to be told of the next call
	mute    atomic.Bool  // it has no health service, and that has been said
	raised  atomic.Bool  // the keeper has been told of a raised limit
	overdue atomic.Int32 // calls of the verifiers that have outlasted their attempts
	waiters sync.Pool    // of *waiter; its own, so that channels stay in their synctest bubble

	// replaced: the pool has another enclave of that name, or none, and this one
	// only finishes what it has; silent: its states are nobody's business.
	replaced, silent atomic.Bool

	// waiting is positive while a release has to look at the queue. It is read
	// by every call and hardly ever written, so it shares no cache line with the
	// lock and the queue, which every caller that waits writes.
	waiting atomic.Int32
	_       [128]byte

	mu       sync.Mutex
	queue    waitQueue
	closed   bool
	draining bool
	outage   *Error        // not nil once a total loss has outlasted the budget
	quiet    *quiet        // not nil while somebody waits for the last slot
	news     chan struct{} // closed and replaced at every change of connections

}

// settings are what an enclave needs of the Config.
type settings struct {
	maxStreams, maxWaiters         int
	acquireTimeout, requestTimeout time.Duration
	dialTimeout, maxConnAge        time.Duration
	keepalive                      keepalive.ClientParameters
	reconnect                      reconnect.Policy
	health                         health.Policy
}

// settings returns what an enclave needs of cfg.
func (cfg Config) settings() *settings {
	return &settings{
		maxStreams: cfg.MaxConcurrentStreams, maxWaiters: cfg.MaxWaiters,
		acquireTimeout: cfg.AcquireTimeout, requestTimeout: cfg.RequestTimeout,
		dialTimeout: cfg.DialTimeout, maxConnAge: cfg.MaxConnAge,
		keepalive: cfg.Keepalive, reconnect: cfg.Reconnect, health: cfg.Health,
	}
}

// newEnclave starts connecting to an enclave.
func newEnclave(cfg Config, ec Enclave, p *Pool) (*enclave, error) {
	least, most := cfg.sizes(ec)
	opts := &p.opts
	rec := p.record(ec.ID)
	e := &enclave{
		record:        rec,
		id:            ec.ID,
		target:        ec.Target,
		authority:     ec.authority(),
		opts:          opts,
		log:           opts.logger.With("enclave_id", ec.ID),
		metrics:       p.metrics.forEnclave(ec.ID, rec),
		events:        &p.events,
		views:         &p.views,
		starts:        &p.starts,
		configWaits:   strings.Contains(opts.serviceConfig, "waitForReady"),
		configRetries: strings.Contains(opts.serviceConfig, "retryPolicy"),
		news:          make(chan struct{}),
	}
	if opts.dialer == nil {
		t, err := target.Parse(ec.Target)
		if err != nil {
			return nil, err
		}
		e.parsed = t
		if opts.plaintext && !t.Local() {
			e.log.Warn("plaintext to a target that may leave this machine; use WithTransportCredentials", "target", ec.Target)
		}
		if t.Abstract() && len(opts.verifiers) == 0 {
			e.log.Warn("any process of this network namespace may listen on an abstract unix socket; use WithUnixPeer", "target", ec.Target)
		}
	}
	e.cfg.Store(cfg.settings())
	e.waiters.New = func() any { return &waiter{served: make(chan struct{}, 1)} }
	e.admitted.Store(new([]*conn))
	e.open.Store(new([]*conn))
	e.orphans.Store(new([]*conn))
	e.minConns.Store(int32(least))
	e.maxConns.Store(int32(most))
	e.weight.Store(int32(max(ec.Weight, 1)))
	now := time.Now()
	e.began = now
	e.status.Store(&enclaveStatus{state: breaker.Degraded, since: now})
	if opts.trackLeases {
		e.tracker = &leaseTracker{}
	}
	e.keeper = newKeeper(e, now)
	channel, err := lb.New(lb.Options{
		Name:          ec.ID,
		ServiceConfig: p.serviceConfig,
		Dial:          e.dial,
		Credentials:   tapCredentials{opts.credentials},
		DialOptions:   e.dialOptions(),
	})
	if err != nil {
		return nil, &Error{EnclaveID: ec.ID, Reason: ErrConfig, Cause: err}
	}
	e.channel = channel
	go e.keeper.run()
	return e, nil
}

func (e *enclave) isClosed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closed
}

// withDeadline gives a call without a deadline the configured one.
func (e *enclave) withDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	return withDeadline(ctx, e.cfg.Load().requestTimeout)
}

func withDeadline(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout > 0 {
		if _, ok := ctx.Deadline(); !ok {
			return context.WithTimeout(ctx, timeout)
		}
	}
	return ctx, func() {}
}

// refusalLocked returns why nobody may queue now; nil: one may.
func (e *enclave) refusalLocked(patience patience) error {
	switch {
	case e.closed && !e.replaced.Load():
		return &Error{EnclaveID: e.id, Reason: ErrClosed}
	case e.draining, e.closed:
		return &Error{EnclaveID: e.id, Reason: ErrDraining, RetryAfter: e.cfg.Load().reconnect.Max}
	case patience == untilContext:
	case e.outage != nil:
		out := *e.outage
		if cause := e.status.Load().cause; cause != nil {
			out.Cause = cause // of the latest attempt; there may have been none yet when the budget was spent
		}
		return &out
	case patience == notAtAll && e.status.Load().state != breaker.Healthy:
		return e.lossError()
	}
	return nil
}

// lossError describes a caller that does not wait for a lost enclave.
func (e *enclave) lossError() *Error {
	return &Error{EnclaveID: e.id, Reason: ErrUnavailable, RetryAfter: e.cfg.Load().reconnect.Max, Cause: e.lastCause()}
}

// exhaustedError counts and describes a caller turned away. waited is 0 for
// one that never queued.
func (e *enclave) exhaustedError(waiters int, waited time.Duration) error {
	e.exhausted.Add(1)
	e.crowded(true)
	used, capacity := e.usage()
	state := fmt.Errorf("%d of %d slots in use, %d of at most %d waiters queued", used, capacity, waiters, e.cfg.Load().maxWaiters)
	if waited > 0 {
		state = fmt.Errorf("no slot within AcquireTimeout (%v): %w", e.cfg.Load().acquireTimeout, state)
	}
	return &Error{EnclaveID: e.id, Reason: ErrExhausted, Cause: state}
}

// gaveUp describes a caller whose context ended before it had a slot.
func (e *enclave) gaveUp(err error, waited time.Duration) error {
	st := e.status.Load()
	cause := fmt.Errorf("no slot was free after %v, enclave %v", waited.Round(time.Microsecond), st.state)
	if st.cause != nil {
		cause = fmt.Errorf("%w: %w", cause, st.cause)
	}
	return &Error{EnclaveID: e.id, Reason: err, Cause: cause}
}

// usage returns how many slots are in use and how many there are, on the
// connections that callers may use.
func (e *enclave) usage() (used, capacity int) {
	for _, c := range *e.admitted.Load() {
		u, limit := c.slots.load()
		used, capacity = used+int(u), capacity+int(limit)
	}
	return used, capacity
}

// publish lets callers use c; false while the enclave is draining or closed.
func (e *enclave) publish(c *conn) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed || e.draining {
		return false
	}
	conns := append(slices.Clone(*e.admitted.Load()), c)
	e.admitted.Store(&conns)
	c.allow()
	return true
}

// withdraw takes c from callers' sight.
func (e *enclave) withdraw(c *conn) {
	e.mu.Lock()
	conns := without(*e.admitted.Load(), c)
	e.admitted.Store(&conns)
	e.mu.Unlock()
}

func (e *enclave) addOpen(c *conn) {
	e.mu.Lock()
	conns := append(slices.Clone(*e.open.Load()), c)
	e.open.Store(&conns)
	e.mu.Unlock()
}

func (e *enclave) removeOpen(c *conn) {
	e.mu.Lock()
	if conns := without(*e.open.Load(), c); len(conns) < len(*e.open.Load()) {
		e.retired.Add(c.slots.reserved())
		e.open.Store(&conns)
		// A lease may be out that has its slot on c still, and no call.
		orphans := slices.DeleteFunc(append(slices.Clone(*e.orphans.Load()), c), func(o *conn) bool {
			used, _ := o.slots.load()
			return used == 0
		})
		e.orphans.Store(&orphans)
	}
	e.mu.Unlock()
	if e.waiting.Load() > 0 {
		e.serve() // somebody may wait for the last slot, and it was on c
	}
}

// sendAway turns those away who do not wait for a lost enclave. Whoever comes
// later sees its state.
func (e *enclave) sendAway() {
	e.mu.Lock()
	var d deliveries
	e.refuseLocked(&d, e.lossError(), notAtAll)
	e.mu.Unlock()
	e.tell(&d)
}

// setOutage turns callers away with err from now on; nil: lets them queue again.
func (e *enclave) setOutage(err *Error) {
	e.mu.Lock()
	e.outage = err
	var d deliveries
	if err != nil {
		e.refuseLocked(&d, err, untilBudget)
	}
	e.mu.Unlock()
	e.tell(&d)
}

// changed wakes whoever waits for connections to come or go.
func (e *enclave) changed() {
	e.mu.Lock()
	close(e.news)
	e.news = make(chan struct{})
	e.mu.Unlock()
}

// ready waits until the enclave has its minimum of connections.
func (e *enclave) ready(ctx context.Context) error {
	for {
		e.mu.Lock()
		have, news, closed := len(*e.admitted.Load()), e.news, e.closed
		need := int(e.minConns.Load())
		e.mu.Unlock()
		switch {
		case closed:
			return &Error{EnclaveID: e.id, Reason: ErrClosed}
		case have >= need:
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return &Error{EnclaveID: e.id, Reason: ctx.Err(), RetryAfter: e.cfg.Load().reconnect.Max,
				Cause: fmt.Errorf("%d of %d connections healthy: %w", have, need, e.lastCause())}
		}
	}
}

var errNoCause = errors.New("no attempt has failed yet")

// lastCause returns what keeps connections from coming up.
func (e *enclave) lastCause() error {
	switch st := e.status.Load(); {
	case st.state == breaker.Draining:
		return ErrDraining
	case st.cause != nil:
		return st.cause
	}
	return errNoCause
}
