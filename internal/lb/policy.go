package lb

import (
	"errors"

	"google.golang.org/grpc/attributes"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/status"
)

const (
	policyName = "enclavepool"
	scheme     = "enclavepool"
)

// gRPC finds a policy by its name in a process-wide table, so this one entry
// cannot be made per channel. It holds no state: the Channel arrives with the
// resolver's state.
func init() { balancer.Register(policyBuilder{}) }

// Ticket is what a call carries in its context to the picker.
type Ticket interface {
	// Pick names the connection for the call's next attempt. It must not
	// block; ErrWait makes the call wait for the next Refresh. Any other error
	// ends the call and is what its caller gets; its status code must be one a
	// picker may return (gRFC A54: Unavailable, ResourceExhausted, …).
	Pick() (*Conn, error)
	// Ended is told how an attempt that Pick named a connection for has ended.
	Ended(Outcome)
}

// Outcome is how one attempt of a call ended.
type Outcome struct {
	Err error
	// Sent: the request may have left the process. Without it the attempt has
	// had no effect anywhere.
	Sent bool
	// Answered: bytes of an answer arrived.
	Answered bool
}

// ErrWait makes a call wait until the next Refresh and then ask again.
var ErrWait = errors.New("lb: wait for the next refresh")

type ticketKey struct{}

// TicketKey is the key under which a context carries its Ticket.
func TicketKey() any { return ticketKey{} }

// picker has no state of its own: the ticket knows. gRPC wants a new picker to
// be published whenever waiting calls should ask again.
type picker struct{}

func (picker) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	t, ok := info.Ctx.Value(ticketKey{}).(Ticket)
	if !ok {
		return balancer.PickResult{}, status.Error(codes.Internal, "lb: the call carries no ticket")
	}
	c, err := t.Pick()
	if err != nil {
		if err == ErrWait {
			err = balancer.ErrNoSubConnAvailable
		}
		return balancer.PickResult{}, err
	}
	return balancer.PickResult{
		SubConn: c.sub,
		Done: func(d balancer.DoneInfo) {
			t.Ended(Outcome{Err: d.Err, Sent: d.BytesSent, Answered: d.BytesReceived})
		},
	}, nil
}

type policyBuilder struct{}

func (policyBuilder) Name() string { return policyName }

func (policyBuilder) Build(cc balancer.ClientConn, _ balancer.BuildOptions) balancer.Balancer {
	return &policy{cc: cc}
}

// policy is gRPC's side of a Channel.
type policy struct {
	cc      balancer.ClientConn
	channel *Channel
}

func (p *policy) UpdateClientConnState(s balancer.ClientConnState) error {
	if p.channel != nil {
		return nil
	}
	ch, ok := s.ResolverState.Attributes.Value(channelKey{}).(*Channel)
	if !ok {
		return errors.New("lb: policy " + policyName + " works inside an enclavepool channel only")
	}
	p.channel = ch
	ch.balancer.Store(&p.cc)
	ch.Refresh()
	close(ch.attached)
	return nil
}

// ResolverError has nothing to report: the resolver resolves nothing.
func (p *policy) ResolverError(error) {}

// UpdateSubConnState is never called: every SubConn has its own listener.
func (p *policy) UpdateSubConnState(balancer.SubConn, balancer.SubConnState) {}

// ExitIdle has nothing to do: connections are opened by their owner alone.
func (p *policy) ExitIdle() {}

func (p *policy) Close() {
	if p.channel != nil {
		p.channel.balancer.Store(nil)
	}
}

type channelKey struct{}

// resolverBuilder hands the Channel to its policy; it belongs to one ClientConn.
type resolverBuilder struct{ channel *Channel }

func (resolverBuilder) Scheme() string { return scheme }

func (b resolverBuilder) Build(t resolver.Target, cc resolver.ClientConn, _ resolver.BuildOptions) (resolver.Resolver, error) {
	err := cc.UpdateState(resolver.State{
		Addresses:  []resolver.Address{{Addr: t.Endpoint()}},
		Attributes: attributes.New(channelKey{}, b.channel),
	})
	return nopResolver{}, err
}

type nopResolver struct{}

func (nopResolver) ResolveNow(resolver.ResolveNowOptions) {}
func (nopResolver) Close()                                {}
