package pool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/enclavepool/enclavepool/reconnect"
)

// ErrPeerRejected is among the causes of an Error when a connection came about
// and its peer did not prove to be who it should be, or did not accept us: the
// handshake of the transport credentials failed, or a verifier refused the peer.
// Such a connection is never admitted.
var ErrPeerRejected = errors.New("peer rejected")

// shunPolicy is how soon a peer that was rejected is tried again. Trying does
// not make it another one, so this is much later than after a loss.
var shunPolicy = reconnect.Policy{Initial: time.Second, Max: 30 * time.Second, Multiplier: 2, Jitter: 0.2}

// rejection returns err as the cause of a failed step towards trust: with
// ErrPeerRejected, unless it was the connection that failed.
func rejection(step string, err error) error {
	var netErr net.Error
	switch {
	case errors.Is(err, ErrPeerRejected):
		return fmt.Errorf("%s: %w", step, err)
	case isAlert(err):
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr):
		return fmt.Errorf("%s: %w", step, err)
	}
	return fmt.Errorf("%w: %s: %w", ErrPeerRejected, step, err)
}

// lateRejection is rejection for what is read after the handshake: a server of
// TLS 1.3 rejects a client's certificate only then.
func lateRejection(err error) error {
	if isAlert(err) {
		return fmt.Errorf("%w: %w", ErrPeerRejected, err)
	}
	return err
}

// rejectedUs returns the cause of an attempt that ended after a handshake that
// secures, without a single byte more: a server of TLS 1.3 that wants another
// certificate of ours hangs up, and its alert is often lost with the connection.
func (c *conn) rejectedUs(cause error) error {
	if c.verifying.Load() && errors.Is(cause, context.DeadlineExceeded) {
		return fmt.Errorf("peer verification: the verifier has not answered in time: %w", cause)
	}
	tap := c.tap.Load()
	if tap == nil || !c.secured.Load() || tap.BytesRead() > 0 || errors.Is(cause, ErrPeerRejected) || errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return fmt.Errorf("%w: it hung up after the handshake: %w", ErrPeerRejected, cause)
}

// isAlert tells whether err is a TLS alert, from there or from here. Package
// crypto/tls makes it a net.OpError around a type of its own; the operation is
// all that can be told from outside.
func isAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error")
}

// shun plans the next attempt of a place whose peer was rejected.
func (k *keeper) shun(p *place, cause error) time.Duration {
	if p.shunned == nil {
		p.shunned = shunPolicy.Backoff()
		p.shunned.Next() // the immediate one
	}
	if !k.shunning {
		k.shunning = true
		k.e.log.Error("peer rejected; it is tried again rarely", "conn", p.index, "cause", errText(cause))
	}
	return p.shunned.Next()
}

// trusted ends that, once a peer has been admitted.
func (k *keeper) trusted(p *place) {
	p.shunned = nil
	k.shunning = false
}
