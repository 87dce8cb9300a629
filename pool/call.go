package pool

import (
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/internal/lb"
)

// call is one RPC on a lease. It is the RPC's context as well as its ticket to
// the picker, which saves an allocation for each.
type call struct {
	context.Context
	lease    *Lease
	patience patience
	attempts atomic.Uint32 // picks
	sent     atomic.Uint32 // attempts that may have left the process
	outcome  atomic.Uint32
	// cutOff: the call ended while its context still stood.
	cutOff atomic.Bool

	// stranded: the call has been in the queue from inside gRPC. gRPC's, whose
	// picks for one call follow each other.
	stranded bool

	// Guarded by the enclave's lock.
	stranding *waiter
	strandErr error
}

// What is known of a call's attempts taken together.
const (
	outcomeUnknown  = 1 << iota // an attempt may have been processed
	outcomeRefused              // an attempt was refused unprocessed
	outcomeUnclear              // an attempt ended before gRPC looked at how
	outcomeAnswered             // the last attempt got an answer
)

// Value hands the ticket to the picker.
func (c *call) Value(key any) any {
	if key == lb.TicketKey() {
		return lb.Ticket(c)
	}
	return c.Context.Value(key)
}

// Pick implements lb.Ticket.
func (c *call) Pick() (*lb.Conn, error) {
	sub, err := c.pick()
	if err == nil {
		c.lease.conn.Load().attempted(c.Context)
	}
	return sub, err
}

// pick chooses. The first attempt goes where the lease has its slot. A further
// one, and any whose connection has gone, goes elsewhere if it can.
func (c *call) pick() (*lb.Conn, error) {
	conn := c.lease.conn.Load()
	if c.attempts.Add(1) == 1 && conn.usable() {
		return conn.sub, nil
	}
	if !c.lease.enclave().configRetries {
		// Without a retry policy gRPC repeats only what was not processed, and
		// says nothing of how it knows: what counts is the attempt to come.
		c.outcome.Store(0)
	}
	return c.lease.enclave().relocate(c, conn)
}

// Ended implements lb.Ticket.
func (c *call) Ended(o lb.Outcome) {
	if o.Sent {
		c.sent.Add(1)
	}
	if o.Answered {
		c.outcome.Or(outcomeUnknown | outcomeAnswered)
		c.lease.conn.Load().answered()
		return
	}
	c.outcome.And(^uint32(outcomeAnswered))
	switch {
	case refused(o.Err):
		c.outcome.Or(outcomeRefused)
	case o.Sent && o.Err == nil:
		c.outcome.Or(outcomeUnclear)
	case o.Sent:
		c.outcome.Or(outcomeUnknown)
	}
}

// refused tells whether err is a stream that the enclave reset with
// REFUSED_STREAM, or named as one too many in a GOAWAY; both promise that it
// was not processed (RFC 9113, 8.7 and 6.8). gRPC says so in the text alone;
// should that change, such a call counts as Unknown, which is the safe side.
func refused(err error) bool {
	s, ok := status.FromError(err)
	return ok && s.Code() == codes.Unavailable &&
		(strings.HasSuffix(s.Message(), "RST_STREAM with error code: REFUSED_STREAM") || s.Message() == "the connection is draining")
}

// relocate finds a slot on another connection than old for a call of which
// nothing has been sent, or which gRPC is about to repeat.
func (e *enclave) relocate(c *call, old *conn) (*lb.Conn, error) {
	if !c.stranded {
		if conn := e.reserve(old).conn; conn != nil {
			c.lease.conn.Store(conn)
			e.release(old)
			return conn.sub, nil
		}
		if old.usable() {
			return old.sub, nil
		}
	}
	// From here on somebody else may be giving it a slot, so what it has is
	// looked at and changed under the lock only.
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case c.stranding != nil: // asked again while it waits
		return nil, lb.ErrWait
	case c.strandErr != nil:
		return nil, c.strandErr
	case c.stranded: // it was served
		c.stranded = false
		if old = c.lease.conn.Load(); old.usable() {
			return old.sub, nil
		}
	}
	if err := e.refusalLocked(c.patience); err != nil {
		return nil, err
	}
	e.waiting.Add(1) // announced; now the look that comes after it
	if conn := e.reserve(old).conn; conn != nil {
		e.attendLocked()
		c.lease.conn.Store(conn)
		old.slots.release() // lost: nobody can be given it
		return conn.sub, nil
	}
	w := &waiter{patience: c.patience, stranded: c}
	c.stranded, c.stranding = true, w
	e.queue.pushFront(w)
	e.attendLocked()
	e.yieldWarm()
	return nil, lb.ErrWait
}

// settle ends what a call may have left in the queue.
func (e *enclave) settle(c *call) {
	e.mu.Lock()
	if c.stranding != nil {
		e.queue.remove(c.stranding)
		c.stranding = nil
		e.attendLocked()
	}
	e.mu.Unlock()
}

// invoke makes a unary RPC.
func (e *enclave) invoke(c *call, method string, args, reply any, opts []grpc.CallOption) error {
	c.patience = e.patience(c.patience, method, opts)
	for again := 0; ; again++ {
		err := e.channel.Invoke(c, method, args, reply, opts...)
		if err == nil && !c.stranded {
			return nil
		}
		e.settle(c)
		if err == nil {
			return nil // an interceptor's doing
		}
		if err == io.EOF {
			// A repeated attempt that ended while it was being sent: gRPC lets the
			// end of the stream through where it means the failure of the call.
			err = status.Error(codes.Unavailable, "the stream ended before an answer")
		}
		if !e.repeats(c, method, err, again) {
			return e.explain(c, err)
		}
		c.outcome.Store(outcomeUnknown) // whatever comes of it now
	}
}

// repeats tells whether a call that gRPC has given up is made once more: its
// retry policy allows another attempt, and it failed because its connection was
// lost. gRPC leaves out two such cases, a call whose answer had begun to arrive
// and one whose repetition was queued on a connection that was closing; for a
// method that is declared idempotent there is no difference. again is how often
// this has been so.
func (e *enclave) repeats(c *call, method string, err error, again int) bool {
	if !e.configRetries || status.Code(err) != codes.Unavailable || c.Err() != nil || e.answered(c) {
		return false
	}
	if c.lease.conn.Load().usable() {
		return false // it is not lost: gRPC had its reason, which may be that its budget of retries is spent
	}
	var refusal *Error
	if errors.As(err, &refusal) {
		return false // there is no connection for it
	}
	return max(int(c.sent.Load()), again+1) < e.channel.MaxAttempts(method, codes.Unavailable)
}

// newStream opens a stream; ended is called exactly once, when it is over.
func (e *enclave) newStream(c *call, cancel context.CancelFunc, ended func(), desc *grpc.StreamDesc, method string, opts []grpc.CallOption) (grpc.ClientStream, error) {
	c.patience = e.patience(c.patience, method, opts)
	over := sync.OnceFunc(func() {
		c.cutOff.Store(c.Err() == nil)
		e.settle(c)
		cancel()
		ended()
	})
	opts = append(opts[:len(opts):len(opts)], grpc.OnFinish(func(error) { over() }))
	s, err := e.channel.NewStream(c, desc, method, opts...)
	if err != nil {
		over() // an interceptor may have failed before gRPC saw the call
		return nil, e.explain(c, err)
	}
	return &stream{ClientStream: s, call: c}, nil
}

// stream explains the errors of a gRPC stream.
type stream struct {
	grpc.ClientStream
	call *call
}

func (s *stream) explain(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return s.call.lease.enclave().explain(s.call, err)
}

func (s *stream) SendMsg(m any) error { return s.explain(s.ClientStream.SendMsg(m)) }

func (s *stream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if err != nil {
		return s.explain(err)
	}
	s.call.lease.conn.Load().answered() // the stream may outlive the connection
	return nil
}

// answered tells whether c's error is the enclave's own word. A call may also be
// lost half answered, with its connection.
func (e *enclave) answered(c *call) bool {
	return c.outcome.Load()&outcomeAnswered != 0 && !c.lease.conn.Load().closed.Load()
}

// explain makes an *Error of a call that failed for want of a connection. What
// the enclave answered, and the end of the caller's own context, stay as gRPC
// reported them.
func (e *enclave) explain(c *call, err error) error {
	o := c.outcome.Load()
	var already *Error
	if errors.As(err, &already) {
		if already.Disposition == NotSent && o&(outcomeUnknown|outcomeUnclear) != 0 {
			// There was no connection for a repetition, but an earlier attempt was sent.
			out := *already
			out.Disposition = Unknown
			return &out
		}
		return err
	}
	reason := ErrUnavailable
	switch code := status.Code(err); {
	case code == codes.Canceled && (c.cutOff.Load() || c.Err() == nil) && e.isClosed():
		reason = ErrClosed // Canceled is gRPC's word for a channel that is closed
	case code != codes.Unavailable:
		return err
	case e.answered(c):
		return err // the enclave's own word
	}
	d := NotSent
	switch {
	case o&outcomeUnknown != 0:
		d = Unknown
	case o&outcomeUnclear != 0:
		// There is one such attempt, the last, unless gRPC also repeats what
		// may have been processed; the call's error is then that attempt's.
		if d = Unknown; refused(err) && !e.configRetries {
			d = Refused
		}
	case o&outcomeRefused != 0:
		d = Refused
	}
	return &Error{EnclaveID: e.id, Reason: reason, Disposition: d, Cause: err}
}

// patience returns how patient a call is: at least so, and more if its options
// or the service config say WaitForReady.
func (e *enclave) patience(least patience, method string, opts []grpc.CallOption) patience {
	if e.waitsForReady(method, opts) {
		return untilContext
	}
	return least
}

// waitsForReady tells whether a call waits for a connection as long as its
// context lasts: by its last option that says so or else by the service config.
func (e *enclave) waitsForReady(method string, opts []grpc.CallOption) bool {
	for i := len(opts) - 1; i >= 0; i-- {
		if o, ok := opts[i].(grpc.FailFastCallOption); ok {
			return !o.FailFast
		}
	}
	return e.configWaits && e.channel.WaitForReady(method)
}
