package faults

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
	"github.com/enclavepool/enclavepool/pool"
)

// callTimeout is the deadline of a call, far beyond what any takes here that is not lost.
const callTimeout = 5 * time.Second

// callers is how many callers each enclave has.
const callers = 16

// traffic is what callers do. Each makes one call after another, on a schedule that a slow call does not make up for:
// so one caller has at most one call in flight, and the load never grows beyond what was asked for.
//
// A call is Create of a key that it names. That is idempotent, and works in an enclave that was just restarted and has
// lost its keys.
type traffic struct {
	pool *pool.Pool
	// callers is how many there are, 0: the constant callers; rate is the calls per second of all together.
	callers int
	rate    float64
	// choose names the enclave of the next call.
	choose func() string
	// reroute makes a call again, on the enclave that choose names then, when it certainly was not executed.
	reroute bool
	// timeout is the deadline of a call. 0: callTimeout.
	timeout time.Duration
	// count makes each call count the attempts that gRPC makes for it; the pool has to have an attemptCounter.
	count bool
	// padding is sent along as metadata, for calls that fill buffers.
	padding string
}

// to chooses always the same enclave.
func to(id string) func() string { return func() string { return id } }

// load is traffic under way.
type load struct {
	t    traffic
	end  context.CancelFunc
	done sync.WaitGroup

	mu    sync.Mutex
	calls calls
}

// every is the time from one call of a caller's to its next.
func (t traffic) every() time.Duration {
	if t.callers == 0 {
		t.callers = callers
	}
	return time.Duration(float64(t.callers) / t.rate * float64(time.Second))
}

// start begins the load.
func (t traffic) start() *load {
	if t.callers == 0 {
		t.callers = callers
	}
	if t.timeout == 0 {
		t.timeout = callTimeout
	}
	ctx, end := context.WithCancel(context.Background())
	l := &load{t: t, end: end}
	every := t.every()
	for i := range t.callers {
		first := time.Now().Add(every * time.Duration(i) / time.Duration(t.callers))
		l.done.Go(func() { l.work(ctx, i, first, every) })
	}
	return l
}

// stop ends the load, waits for the calls in flight, and returns all.
func (l *load) stop() calls {
	l.end()
	l.done.Wait()
	slices.SortFunc(l.calls, byBegin)
	return l.calls
}

// work is one caller.
func (l *load) work(ctx context.Context, caller int, next time.Time, every time.Duration) {
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		c := l.t.one()
		c.caller = caller
		l.mu.Lock()
		l.calls = append(l.calls, c)
		l.mu.Unlock()
		if next = next.Add(every); next.Before(c.end) {
			next = c.end.Add(every / 8) // what was missed is not made up for
		}
		timer.Reset(time.Until(next))
	}
}

// one makes one call.
func (t traffic) one() (c call) {
	c.begin = time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), t.timeout)
	defer cancel()
	if t.padding != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "padding", t.padding)
	}
	if t.count {
		var n *atomic.Int32
		ctx, n = counted(ctx)
		defer func() { c.attempts = int(n.Load()) }()
	}
	for {
		var p peer.Peer
		c.enclave = t.choose()
		c.err = create(ctx, t.pool.Conn(c.enclave), grpc.Peer(&p))
		c.end = time.Now()
		c.conn = tagOf(&p)
		if c.err == nil || !t.reroute || !unsent(c.err) || ctx.Err() != nil || t.choose() == c.enclave {
			return c
		}
	}
}

// create makes a key, or is told that it is there.
func create(ctx context.Context, on grpc.ClientConnInterface, opts ...grpc.CallOption) error {
	_, err := signerv1.NewSignerServiceClient(on).Create(ctx, &signerv1.CreateRequest{
		KeyId: "k", Algorithm: signerv1.Algorithm_ALGORITHM_ED25519,
	}, opts...)
	return err
}
