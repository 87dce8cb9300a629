package lb

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/resolver"
)

// Options is what a Channel is made of.
type Options struct {
	// Name stands in gRPC's own logs; the enclave's ID.
	Name string
	// ServiceConfig is the result of the function of that name.
	ServiceConfig string
	// Dial makes the raw connection for the owner given to Open. It has to
	// respect ctx, which ends when the connection is shut down.
	Dial func(ctx context.Context, owner any) (net.Conn, error)
	// Credentials make the raw connection a trusted one. They learn the owner
	// through OwnerFromContext.
	Credentials credentials.TransportCredentials
	// DialOptions come first: what this package needs has the last word.
	DialOptions []grpc.DialOption
}

// Channel is a grpc.ClientConn whose connections are opened one by one, each
// for an owner, and never reborn.
type Channel struct {
	cc       *grpc.ClientConn
	balancer atomic.Pointer[balancer.ClientConn] // set once gRPC has built the policy
	attached chan struct{}
}

// attachTimeout bounds a step that takes microseconds and does no I/O; it is
// there so that a change in gRPC shows up as an error and not as a hang.
const attachTimeout = 10 * time.Second

// never is gRPC's own backoff: longer than any connection here waits, since
// failed ones are shut down and replaced by their owner.
const never = time.Hour

// New returns a Channel with no connections.
func New(opts Options) (*Channel, error) {
	ch := &Channel{attached: make(chan struct{})}
	dialOptions := append(opts.DialOptions[:len(opts.DialOptions):len(opts.DialOptions)],
		grpc.WithResolvers(resolverBuilder{ch}),
		grpc.WithDefaultServiceConfig(opts.ServiceConfig),
		grpc.WithDisableServiceConfig(), // the resolver brings none; say so
		grpc.WithTransportCredentials(opts.Credentials),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return opts.Dial(ctx, OwnerFromContext(ctx))
		}),
		grpc.WithNoProxy(),
		grpc.WithIdleTimeout(0),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{BaseDelay: never, Multiplier: 1, MaxDelay: never},
			// Unset, this would let the backoff be the dial deadline; the
			// owner's own timer is what ends an attempt.
			MinConnectTimeout: never,
		}),
	)
	cc, err := grpc.NewClient(scheme+":///"+url.PathEscape(opts.Name), dialOptions...)
	if err != nil {
		return nil, err
	}
	ch.cc = cc
	cc.Connect()
	timer := time.NewTimer(attachTimeout)
	defer timer.Stop()
	select {
	case <-ch.attached:
		return ch, nil
	case <-timer.C:
		return nil, errors.Join(fmt.Errorf("lb: gRPC did not start policy %q within %v", policyName, attachTimeout), cc.Close())
	}
}

// Invoke implements grpc.ClientConnInterface. ctx carries a Ticket.
func (ch *Channel) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return ch.cc.Invoke(ctx, method, args, reply, opts...)
}

// NewStream implements grpc.ClientConnInterface. ctx carries a Ticket.
func (ch *Channel) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return ch.cc.NewStream(ctx, desc, method, opts...)
}

// WaitForReady tells whether the service config makes calls of method wait for
// a connection rather than fail.
func (ch *Channel) WaitForReady(method string) bool {
	w := ch.cc.GetMethodConfig(method).WaitForReady
	return w != nil && *w
}

// MaxAttempts returns how often the service config lets a call of method be
// made in all, when it fails with code; 1 without a retry policy for it.
func (ch *Channel) MaxAttempts(method string, code codes.Code) int {
	p := ch.cc.GetMethodConfig(method).RetryPolicy
	if p == nil || !p.RetryableStatusCodes[code] {
		return 1
	}
	return p.MaxAttempts
}

// Refresh makes every call that waits in gRPC ask its Ticket again. It must
// not be called with a lock held that a Ticket or an Owner takes.
func (ch *Channel) Refresh() {
	if b := ch.balancer.Load(); b != nil {
		(*b).UpdateState(balancer.State{ConnectivityState: connectivity.Ready, Picker: picker{}})
	}
}

// Close closes the channel and every connection at once, calls in flight
// included. On a frozen peer gRPC's close blocks for seconds unless the raw
// connections are closed first.
func (ch *Channel) Close() error { return ch.cc.Close() }

// Owner hears of the changes of its connection, in order, on gRPC's balancer
// goroutine: it must not block, nor call back into the Channel.
type Owner interface {
	ConnState(state connectivity.State, err error)
}

// Conn is one connection: dialled once, lost once.
type Conn struct {
	channel *Channel
	sub     balancer.SubConn
	// bound sends on this very connection, past the picker.
	bound grpc.ClientConnInterface
	unref func()
}

// Open makes a connection for owner. Nothing is dialled before Connect.
func (ch *Channel) Open(owner Owner) (*Conn, error) {
	b := ch.balancer.Load()
	if b == nil {
		return nil, errors.New("lb: channel is not attached")
	}
	addr := resolver.Address{
		Addr:       "enclave", // names nothing: the dialer goes by the owner
		Attributes: attributes.New(ownerKey{}, owner),
	}
	//lint:ignore SA1019 what is deprecated is a SubConn of several addresses; this has one
	sub, err := (*b).NewSubConn([]resolver.Address{addr}, balancer.NewSubConnOptions{
		StateListener: func(s balancer.SubConnState) {
			owner.ConnState(s.ConnectivityState, s.ConnectionError)
			ch.Refresh()
		},
	})
	if err != nil {
		return nil, err
	}
	c := &Conn{channel: ch, sub: sub}
	producer, unref := sub.GetOrBuildProducer(binder{})
	c.bound, c.unref = producer.(grpc.ClientConnInterface), unref
	return c, nil
}

// Connect starts the one attempt to connect; the owner hears how it went.
func (c *Conn) Connect() { c.sub.Connect() }

// Shutdown ends the connection: an attempt is given up, open streams may
// finish, nothing new starts. The owner hears connectivity.Shutdown.
func (c *Conn) Shutdown() {
	c.unref()
	c.sub.Shutdown()
	c.channel.Refresh()
}

// Invoke makes a unary call on this connection, for probes: no retries, no
// interceptors, no Ticket. It fails with Unavailable when not connected.
func (c *Conn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return c.bound.Invoke(ctx, method, args, reply, opts...)
}

// NewStream is Invoke in steps. It waits, as long as ctx lasts, while the
// server's limit of streams is used up.
func (c *Conn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return c.bound.NewStream(ctx, desc, method, opts...)
}

type ownerKey struct{}

// OwnerFromContext returns the owner of the connection that a dialer or a
// handshake is at work for, nil outside of one.
func OwnerFromContext(ctx context.Context) any {
	return credentials.ClientHandshakeInfoFromContext(ctx).Attributes.Value(ownerKey{})
}

// binder is a producer builder that produces nothing but the
// grpc.ClientConnInterface bound to the SubConn, which gRPC gives to no one else.
type binder struct{}

func (binder) Build(bound any) (balancer.Producer, func()) { return bound, func() {} }
