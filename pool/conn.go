package pool

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/connectivity"

	"github.com/enclavepool/enclavepool/health"
	"github.com/enclavepool/enclavepool/internal/h2tap"
	"github.com/enclavepool/enclavepool/internal/lb"
)

// conn is one HTTP/2 connection: dialled, admitted, lost or closed, never
// reborn. It hears from gRPC (lb.Owner) and from the frames that arrive
// (h2tap.Observer), acts on what cannot wait and passes the rest to the keeper.
type conn struct {
	slots   slotWord
	leases  atomic.Pointer[leaseChunk]
	enclave *enclave
	place   *place
	index   int // the place's
	sub     *lb.Conn

	ready   atomic.Bool   // gRPC can open streams on it
	lost    chan struct{} // closed when it no longer can
	useful  atomic.Bool   // a call has been answered on it
	heard   atomic.Bool   // and again since the monitor was last told
	secured atomic.Bool   // the handshake was one of the transport credentials', not plaintext
	closed  atomic.Bool   // its socket is closed, or has failed
	flooded atomic.Bool   // its peer flooded it, which is why
	// verifying: the verifiers have been asked about its peer and not answered yet.
	verifying atomic.Bool
	tap       atomic.Pointer[h2tap.Conn]

	mu         sync.Mutex
	raw        net.Conn // what the dialer made, below any TLS
	admits     bool
	advertised int64     // MAX_CONCURRENT_STREAMS as the server last said; −1: it has not
	cause      error     // the first thing that went wrong
	resting    error     // why it is out of rotation
	openedAt   time.Time // when it was admitted

	// The keeper's.
	startedAt time.Time // when its attempt began
	deadline  time.Time // of the attempt, while it is one
	checking  bool      // connected; the health check is under way
	giveUp    func()    // ends that check
	retireAt  time.Time // when it is to be replaced; zero: never
	warned    bool      // the enclave is about to close it
	monitor   *health.Monitor
	suspended bool // out of rotation because the enclave asked for it
	gone      bool // its socket is closed
	idleWarm  int  // slots that idle warm streams held when last counted
}

func newConn(e *enclave, p *place) *conn {
	return &conn{enclave: e, place: p, index: p.index, advertised: -1, lost: make(chan struct{})}
}

// errClosedHere stands for a connection that gRPC itself closed.
var errClosedHere = errors.New("closed by gRPC: no answer to keepalive, or a protocol error")

// note keeps err as the cause of the connection's end, unless one is known.
func (c *conn) note(err error) {
	c.mu.Lock()
	if c.cause == nil {
		c.cause = err
	}
	c.mu.Unlock()
}

// why returns the cause of the connection's end, or err when none was noted.
func (c *conn) why(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cause != nil {
		return c.cause
	}
	if err == nil {
		return errClosedHere
	}
	return err
}

// rest keeps why the connection is out of rotation, nil: it is not, and returns
// why it has been.
func (c *conn) rest(why error) (before error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	before, c.resting = c.resting, why
	return before
}

// allow lets callers in, up to the limit, unless the connection is lost.
func (c *conn) allow() {
	c.mu.Lock()
	defer c.mu.Unlock()
	// ConnState clears ready before it denies, and denies under this lock: a
	// loss not seen here is denied after.
	if c.ready.Load() {
		c.admits = true
		if c.openedAt.IsZero() {
			c.openedAt = time.Now()
		}
		c.slots.setLimit(c.limitLocked())
	}
}

// answered notes that a call on the connection has been. Most times it has been
// noted already, and looking costs less than writing.
func (c *conn) answered() {
	if !c.heard.Load() {
		c.heard.Store(true)
		c.useful.Store(true)
	}
}

// age returns how long ago the connection was admitted.
func (c *conn) age(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return now.Sub(c.openedAt)
}

// deny lets nobody in from now on.
func (c *conn) deny() {
	c.mu.Lock()
	c.admits = false
	c.slots.setLimit(0)
	c.mu.Unlock()
	c.enclave.kickWarm()
}

// limitLocked is the smaller of what is configured and what the server
// advertises, less one stream for probes; at least 1, unless the server
// forbids streams altogether.
func (c *conn) limitLocked() uint32 {
	limit := int64(c.enclave.cfg.Load().maxStreams)
	switch {
	case c.advertised == 0:
		return 0
	case c.advertised > 0:
		limit = min(limit, c.advertised-1)
	}
	return uint32(max(1, limit>>c.enclave.ramp.Load()))
}

// usable tells whether a call may be sent on the connection. gRPC takes a moment
// to see that a socket is closed, and until then repeats on it, without a pause,
// whatever it could not send there: so it must not be named to gRPC any more.
func (c *conn) usable() bool { return c.ready.Load() && !c.closed.Load() }

// cut closes the connection under gRPC's feet, below any TLS: whatever waits
// for a frozen peer fails at once.
func (c *conn) cut() {
	c.closed.Store(true)
	c.mu.Lock()
	raw := c.raw
	c.mu.Unlock()
	if raw != nil {
		raw.Close()
	}
}

// unread tells whether the enclave has sent what nobody here has read yet.
func (c *conn) unread() bool {
	c.mu.Lock()
	raw := c.raw
	c.mu.Unlock()
	return raw != nil && unread(raw)
}

// dialled tells whether somebody answered at the enclave's address.
func (c *conn) dialled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.raw != nil
}

// ConnState implements lb.Owner.
func (c *conn) ConnState(state connectivity.State, err error) {
	if state == connectivity.Ready {
		c.ready.Store(true)
	} else if c.ready.Swap(false) {
		close(c.lost)
		c.deny() // at once: the keeper may have other things to do first
	}
	c.enclave.keeper.post(func(k *keeper) { k.stateChanged(c, state, err) })
}

// MaxConcurrentStreams implements h2tap.Observer.
func (c *conn) MaxConcurrentStreams(n uint32) {
	c.mu.Lock()
	c.advertised = int64(n)
	_, before := c.slots.load()
	now := before
	if c.admits {
		now = c.limitLocked()
		c.slots.setLimit(now)
	}
	c.mu.Unlock()
	if now < before {
		c.enclave.kickWarm()
	}
	// However often a peer changes its mind, one notice of it is under way.
	if e := c.enclave; now > before && e.raised.CompareAndSwap(false, true) {
		e.keeper.post(func(k *keeper) {
			k.e.raised.Store(false)
			k.e.serve()
		})
	}
}

// Settings implements h2tap.Observer.
func (c *conn) Settings() {}

// StreamReset implements h2tap.Observer.
func (c *conn) StreamReset(_, code uint32) {
	if h2tap.Code(code) != h2tap.NoError {
		c.enclave.resets[min(int(code), resetCodes-1)].Add(1)
	}
}

// GoAway implements h2tap.Observer.
func (c *conn) GoAway(_, code uint32, debug string) {
	c.note(fmt.Errorf("the enclave sent GOAWAY %v %s", h2tap.Code(code), goAwayWords(debug)))
}

// HoldGoAway implements h2tap.Observer. The keeper has the time of one attempt
// to put another connection in this one's place.
func (c *conn) HoldGoAway() time.Duration {
	c.mu.Lock()
	admits := c.admits
	c.mu.Unlock()
	if !admits {
		return 0 // nobody would miss it
	}
	c.enclave.keeper.post(func(k *keeper) { k.warned(c, time.Now()) })
	return c.enclave.cfg.Load().dialTimeout
}

// release lets gRPC know what the enclave has said.
func (c *conn) release() {
	if t := c.tap.Load(); t != nil {
		t.Release()
	}
}

// Closed implements h2tap.Observer.
func (c *conn) Closed(err error) {
	if errors.Is(err, net.ErrClosed) {
		err = errClosedHere
	}
	if errors.Is(err, h2tap.ErrFlood) {
		c.flooded.Store(true)
		c.mu.Lock()
		c.cause = err // what came before was part of it
		c.mu.Unlock()
	}
	c.note(lateRejection(err))
	c.closed.Store(true)
	c.deny() // gRPC will say so too, a moment later
	c.enclave.keeper.post(func(k *keeper) { k.gone(c) })
}
