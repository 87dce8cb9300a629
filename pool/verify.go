package pool

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"
)

// PeerInfo is what is known of the peer of a new connection once the handshake
// of the transport credentials is over and before HTTP/2 begins.
type PeerInfo struct {
	// EnclaveID, Target and Authority are those of the Config: who should answer.
	EnclaveID, Target, Authority string
	// Addr is the peer's address as the socket has it: a *vsock.Addr,
	// *net.UnixAddr or *net.TCPAddr, or what a WithDialer returned. On a parent
	// host it proves nothing.
	Addr net.Addr
	// TLS is the state of the TLS connection; nil: there is none.
	TLS *tls.ConnectionState
	// AuthInfo is what the transport credentials found out, TLS or not.
	AuthInfo credentials.AuthInfo
	// Unix is who made the unix socket listen, as the kernel tells; nil: it is no
	// unix socket, or this is not Linux. Behind an hvsock target that is the
	// hypervisor's process.
	Unix *UnixCredentials
	// Conn is the connection, above TLS: what a verifier writes and reads there is
	// a protocol between it and the peer, ahead of HTTP/2. A verifier must read no
	// byte more than belongs to that, and must leave Conn alone once it has returned.
	Conn net.Conn
}

// WithPeerVerifier sets what a peer has to satisfy, beyond the transport
// credentials, for its connection to be admitted: nil admits it. It is asked for
// every new connection, replacements included, after the handshake and before
// the first byte of HTTP/2. Given several times, or with WithUnixPeer, all have
// to be satisfied, in the order of the options. A nil verifier changes nothing.
//
// An error refuses the peer: the connection is closed, ErrPeerRejected is among
// the causes, pool_dials counts it with result "rejected", and the next attempt
// is made after 1 s, doubling up to 30 s. A panic is a refusal, too. An error
// that says that the connection failed and not the peer (io.EOF, a net.Error
// such as any syscall.Errno, a context's error) counts as a failed attempt and is
// tried again soon; one that wraps ErrPeerRejected is a refusal whatever else it
// wraps. Either way nothing is admitted.
//
// Verifying is a part of the attempt, and ctx ends with the attempt's
// DialTimeout. A verifier that does not return then is left behind, with its
// connection closed; the attempt has failed. While 8 calls for one enclave are
// left behind, its peers are refused unasked. The verifier is called from
// several goroutines at once, and may use the pool.
//
// The error's text gets into the log, Stats and the errors of callers: what it
// quotes of a peer should be short, and no secret.
func WithPeerVerifier(verify func(ctx context.Context, peer PeerInfo) error) Option {
	return func(o *options) {
		if verify != nil {
			o.verifiers = append(o.verifiers, verify)
		}
	}
}

// maxOverdue bounds the calls of a verifier that never returns, per enclave.
const maxOverdue = 8

// How a call of the verifiers stands: who is first, the answer or the end of its time.
const (
	answerOpen = iota
	answerGiven
	answerLate
)

// verify asks the verifiers about the peer of c. secured is the connection as
// the credentials returned it.
func (c *conn) verify(ctx context.Context, secured net.Conn, info credentials.AuthInfo) error {
	e := c.enclave
	if len(e.opts.verifiers) == 0 {
		return nil
	}
	if n := e.overdue.Load(); n >= maxOverdue {
		return fmt.Errorf("%w: unasked, as %d calls of the verifier have not returned in their time", ErrPeerRejected, n)
	}
	ctx, cancel := context.WithDeadline(ctx, c.startedAt.Add(e.cfg.Load().dialTimeout)) // the deadline itself is the keeper's
	defer cancel()
	peer := c.peer(secured, info)
	c.verifying.Store(true)
	defer c.verifying.Store(false)

	answer := make(chan error, 1)
	var state atomic.Int32
	go func() {
		err := errNoAnswer
		defer func() { // also when a verifier calls runtime.Goexit
			answer <- err
			if !state.CompareAndSwap(answerOpen, answerGiven) {
				e.overdue.Add(-1)
			}
		}()
		err = askVerifiers(ctx, e.opts.verifiers, peer)
	}()
	var err error
	select {
	case err = <-answer:
	case <-ctx.Done():
		e.overdue.Add(1)
		if !state.CompareAndSwap(answerOpen, answerLate) {
			e.overdue.Add(-1) // it has just answered; it is too late all the same
		}
	}
	if err == nil && ctx.Err() != nil {
		err = fmt.Errorf("the verifier has not answered in time: %w", ctx.Err())
	}
	if err == nil {
		err = secured.SetDeadline(time.Time{}) // the verifier may have set one
	}
	if err != nil {
		return rejection("peer verification", err)
	}
	return nil
}

// peer describes the peer of c.
func (c *conn) peer(secured net.Conn, info credentials.AuthInfo) PeerInfo {
	c.mu.Lock()
	raw := c.raw
	c.mu.Unlock()
	p := PeerInfo{
		EnclaveID: c.enclave.id, Target: c.enclave.target, Authority: c.enclave.authority,
		Addr: secured.RemoteAddr(), AuthInfo: info, Conn: secured,
	}
	if t, ok := info.(credentials.TLSInfo); ok {
		p.TLS = &t.State
	}
	p.Unix = unixCredentials(raw)
	return p
}

// errNoAnswer is the refusal of a verifier that ended its goroutine.
var errNoAnswer = errors.New("the verifier ended without an answer")

// askVerifiers returns the first refusal.
func askVerifiers(ctx context.Context, verifiers []func(context.Context, PeerInfo) error, peer PeerInfo) error {
	for _, verify := range verifiers {
		if err := askVerifier(ctx, verify, peer); err != nil {
			return err
		}
	}
	return nil
}

func askVerifier(ctx context.Context, verify func(context.Context, PeerInfo) error, peer PeerInfo) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: the verifier panicked: %v", ErrPeerRejected, p)
		}
	}()
	return verify(ctx, peer)
}
