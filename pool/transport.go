package pool

import (
	"context"
	"errors"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/enclavepool/enclavepool/internal/h2tap"
	"github.com/enclavepool/enclavepool/internal/lb"
	"github.com/enclavepool/enclavepool/internal/target"
)

// dial makes the raw connection for owner, a *conn.
func (e *enclave) dial(ctx context.Context, owner any) (net.Conn, error) {
	c, ok := owner.(*conn)
	if !ok {
		return nil, fmt.Errorf("pool: dialled for %T, want a connection", owner)
	}
	var raw net.Conn
	var err error
	if e.opts.dialer != nil {
		raw, err = e.opts.dialer(ctx, e.target)
	} else {
		raw, err = e.parsed.Dial(ctx)
	}
	if err != nil {
		c.note(err)
		return nil, err
	}
	c.mu.Lock()
	c.raw = raw
	c.mu.Unlock()
	return raw, nil
}

// tapCredentials is where every connection becomes a trusted one: gRPC has no
// other credentials, and asks them for each transport that it makes, before it
// writes a byte of HTTP/2. It has the verifiers asked, and puts the frame tap on
// what the credentials beneath return, so that it reads frames and not their
// encryption.
type tapCredentials struct {
	credentials.TransportCredentials
}

func (t tapCredentials) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	c, ok := lb.OwnerFromContext(ctx).(*conn)
	if !ok {
		return nil, nil, errNoOwner // nobody would verify it
	}
	secured, info, err := t.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if err != nil {
		c.note(rejection("handshake", err))
		return nil, nil, err
	}
	if err := c.verify(ctx, secured, info); err != nil {
		c.note(err)
		return nil, nil, err // gRPC closes the socket
	}
	c.secured.Store(t.Info().SecurityProtocol != "insecure")
	tap := h2tap.New(h2tap.Guard(secured), c)
	c.tap.Store(tap)
	return tap, info, nil
}

// errNoOwner would mean that gRPC connects of its own accord.
var errNoOwner = errors.New("pool: a handshake for no connection of the pool's")

func (t tapCredentials) Clone() credentials.TransportCredentials {
	return tapCredentials{t.TransportCredentials.Clone()}
}

// vsockWriteBuffer keeps gRPC from making a single write that vsock on Nitro
// hosts is known to corrupt; package target splits those that get past it.
const vsockWriteBuffer = target.MaxVsockWrite

// maxHeaderBytes bounds what an enclave may send as headers; gRPC's own bound
// is 16 MiB. Users may change it with WithDialOptions.
const maxHeaderBytes = 64 << 10

// dialOptions are gRPC's side of an enclave's settings.
func (e *enclave) dialOptions() []grpc.DialOption {
	opts := append([]grpc.DialOption{grpc.WithMaxHeaderListSize(maxHeaderBytes)}, e.opts.dialOptions...)
	opts = append(opts, grpc.WithAuthority(e.authority))
	if e.cfg.Load().keepalive.Time > 0 {
		opts = append(opts, grpc.WithKeepaliveParams(e.cfg.Load().keepalive))
	}
	if n := e.parsed.Network(); n == "vsock" || n == "hvsock" {
		opts = append(opts, grpc.WithWriteBufferSize(vsockWriteBuffer))
	}
	return opts
}

// bringCredentials tells whether opts contain transport credentials, which
// would be replaced by the pool's, unseen: gRPC refuses to make a client
// without any, and makes one without dialling.
func bringCredentials(opts []grpc.DialOption) bool {
	cc, err := grpc.NewClient("passthrough:///none", opts...)
	if err != nil {
		// Refused for want of credentials, or for a mistake in opts that the
		// second try shows to be there with credentials as well.
		return false
	}
	cc.Close()
	return true
}

// checkDialOptions tells whether gRPC accepts opts with creds, by making a
// client that is never used.
func checkDialOptions(creds credentials.TransportCredentials, opts ...grpc.DialOption) error {
	cc, err := grpc.NewClient("passthrough:///none", append(opts[:len(opts):len(opts)],
		grpc.WithTransportCredentials(creds))...)
	if err != nil {
		return err
	}
	return cc.Close()
}
