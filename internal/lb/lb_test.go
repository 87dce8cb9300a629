package lb_test

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/internal/lb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server says in every answer on which connection the call arrived.
type server struct {
	testpb.UnimplementedTestServiceServer
	*grpc.Server
	path string

	mu    sync.Mutex
	conns []net.Conn
}

func startServer(t *testing.T) *server {
	s := &server{Server: grpc.NewServer(), path: filepath.Join(t.TempDir(), "s")}
	lis, err := net.Listen("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	testpb.RegisterTestServiceServer(s.Server, s)
	served := make(chan struct{})
	go func() {
		defer close(served)
		s.Serve(numbering{lis, s})
	}()
	t.Cleanup(func() { s.Server.Stop(); <-served })
	return s
}

// numbering gives each accepted connection a number for its remote address.
type numbering struct {
	net.Listener
	s *server
}

type numbered struct {
	net.Conn
	n number
}

type number string

func (number) Network() string  { return "unix" }
func (n number) String() string { return string(n) }

func (c numbered) RemoteAddr() net.Addr { return c.n }

func (l numbering) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.s.conns = append(l.s.conns, c)
	return numbered{c, number('a' + rune(len(l.s.conns)-1))}, nil
}

// drop closes the connection of that name under the server's feet.
func (s *server) drop(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[name[0]-'a'].Close()
}

func (s *server) UnaryCall(ctx context.Context, _ *testpb.SimpleRequest) (*testpb.SimpleResponse, error) {
	p, _ := peer.FromContext(ctx)
	return &testpb.SimpleResponse{Username: p.Addr.String()}, nil
}

func (s *server) FullDuplexCall(stream testpb.TestService_FullDuplexCallServer) error {
	for {
		if _, err := stream.Recv(); err != nil {
			return nil
		}
		if err := stream.Send(&testpb.StreamingOutputCallResponse{}); err != nil {
			return err
		}
	}
}

// owner collects the states its connection goes through.
type owner struct {
	states chan connectivity.State
	conn   *lb.Conn
}

func (o *owner) ConnState(s connectivity.State, _ error) { o.states <- s }

// await reads states until want comes.
func (o *owner) await(t *testing.T, want connectivity.State) {
	t.Helper()
	timeout := time.After(10 * time.Second)
	for {
		select {
		case s := <-o.states:
			if s == want {
				return
			}
		case <-timeout:
			t.Fatalf("connection never became %v", want)
		}
	}
}

func newChannel(t *testing.T, path string) *lb.Channel {
	t.Helper()
	config, err := lb.ServiceConfig("")
	if err != nil {
		t.Fatal(err)
	}
	ch, err := lb.New(lb.Options{
		Name:          "a/b c", // has to survive being part of a URL
		ServiceConfig: config,
		Credentials:   insecure.NewCredentials(),
		Dial: func(ctx context.Context, o any) (net.Conn, error) {
			if _, ok := o.(*owner); !ok {
				return nil, errors.New("the dialer was not told for whom")
			}
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ch.Close() })
	return ch
}

func open(t *testing.T, ch *lb.Channel) *owner {
	t.Helper()
	o := &owner{states: make(chan connectivity.State, 16)}
	conn, err := ch.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	o.conn = conn
	conn.Connect()
	o.await(t, connectivity.Ready)
	return o
}

// ticket asks a function where to send.
type ticket struct {
	pick  func(attempt int) (*lb.Conn, error)
	n     int
	ended []lb.Outcome
}

func (k *ticket) Pick() (*lb.Conn, error) { k.n++; return k.pick(k.n) }
func (k *ticket) Ended(o lb.Outcome)      { k.ended = append(k.ended, o) }

func to(o *owner) *ticket {
	return &ticket{pick: func(int) (*lb.Conn, error) { return o.conn, nil }}
}

func with(t *testing.T, k *ticket) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return context.WithValue(ctx, lb.TicketKey(), lb.Ticket(k))
}

func whoServed(t *testing.T, ctx context.Context, cc grpc.ClientConnInterface) string {
	t.Helper()
	r, err := testpb.NewTestServiceClient(cc).UnaryCall(ctx, &testpb.SimpleRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return r.Username
}

func TestACallGoesToTheConnectionItsTicketNames(t *testing.T) {
	s := startServer(t)
	ch := newChannel(t, s.path)
	a, b := open(t, ch), open(t, ch)
	for range 10 {
		ka, kb := to(a), to(b)
		if got := whoServed(t, with(t, ka), ch); got != "a" {
			t.Errorf("ticket for a: served on %s", got)
		}
		if got := whoServed(t, with(t, kb), ch); got != "b" {
			t.Errorf("ticket for b: served on %s", got)
		}
		if len(ka.ended) != 1 || ka.ended[0] != (lb.Outcome{Sent: true, Answered: true}) {
			t.Errorf("outcomes = %+v, want one that was sent and answered", ka.ended)
		}
	}
}

func TestACallThatHasToWaitAsksAgainAfterRefresh(t *testing.T) {
	s := startServer(t)
	ch := newChannel(t, s.path)
	a := open(t, ch)
	asked := make(chan struct{}, 8)
	k := &ticket{}
	k.pick = func(n int) (*lb.Conn, error) {
		asked <- struct{}{}
		if n < 3 {
			return nil, lb.ErrWait
		}
		return a.conn, nil
	}
	go func() {
		for range 2 {
			<-asked
			ch.Refresh()
		}
	}()
	if got := whoServed(t, with(t, k), ch); got != "a" || k.n < 3 {
		t.Errorf("served on %q after %d picks", got, k.n)
	}
}

func TestATicketsErrorIsWhatTheCallerGets(t *testing.T) {
	ch := newChannel(t, startServer(t).path)
	sentinel := errors.New("no")
	k := &ticket{pick: func(int) (*lb.Conn, error) { return nil, &statusError{sentinel} }}
	_, err := testpb.NewTestServiceClient(ch).UnaryCall(with(t, k), &testpb.SimpleRequest{}, grpc.WaitForReady(true))
	if !errors.Is(err, sentinel) || status.Code(err) != codes.Unavailable {
		t.Errorf("err = %v (%v), want the ticket's own", err, status.Code(err))
	}
}

type statusError struct{ error }

func (e *statusError) Unwrap() error              { return e.error }
func (e *statusError) GRPCStatus() *status.Status { return status.New(codes.Unavailable, e.Error()) }

func TestACallWithoutATicketIsRefused(t *testing.T) {
	ch := newChannel(t, startServer(t).path)
	_, err := testpb.NewTestServiceClient(ch).UnaryCall(t.Context(), &testpb.SimpleRequest{})
	if status.Code(err) != codes.Internal {
		t.Errorf("err = %v, want Internal", err)
	}
}

func TestALostConnectionIsReportedAndNeverDialledAgainByItself(t *testing.T) {
	s := startServer(t)
	ch := newChannel(t, s.path)
	a, b := open(t, ch), open(t, ch)
	s.drop("a")
	a.await(t, connectivity.Idle)
	if got := whoServed(t, with(t, to(b)), ch); got != "b" {
		t.Errorf("served on %s", got)
	}
	// A ticket that still names the lost one is asked again, and may change its mind.
	k := &ticket{}
	k.pick = func(n int) (*lb.Conn, error) {
		if n == 1 {
			go ch.Refresh()
			return a.conn, nil
		}
		return b.conn, nil
	}
	if got := whoServed(t, with(t, k), ch); got != "b" {
		t.Errorf("served on %s", got)
	}
	select {
	case s := <-a.states:
		t.Errorf("the lost connection became %v", s)
	default:
	}
}

func TestABoundCallNeedsNoTicketAndStaysOnItsConnection(t *testing.T) {
	s := startServer(t)
	ch := newChannel(t, s.path)
	a, b := open(t, ch), open(t, ch)
	for i, o := range []*owner{a, b} {
		var r testpb.SimpleResponse
		if err := o.conn.Invoke(t.Context(), testpb.TestService_UnaryCall_FullMethodName, &testpb.SimpleRequest{}, &r); err != nil {
			t.Fatal(err)
		}
		if want := string(rune('a' + i)); r.Username != want {
			t.Errorf("served on %s, want %s", r.Username, want)
		}
	}
	s.drop("a")
	a.await(t, connectivity.Idle)
	err := a.conn.Invoke(t.Context(), testpb.TestService_UnaryCall_FullMethodName, &testpb.SimpleRequest{}, &testpb.SimpleResponse{})
	if status.Code(err) != codes.Unavailable {
		t.Errorf("on a lost connection: %v, want Unavailable", err)
	}
}

func TestShutdownLetsOpenStreamsFinish(t *testing.T) {
	s := startServer(t)
	ch := newChannel(t, s.path)
	a := open(t, ch)
	stream, err := testpb.NewTestServiceClient(ch).FullDuplexCall(with(t, to(a)))
	if err != nil {
		t.Fatal(err)
	}
	exchange := func() {
		t.Helper()
		if err := stream.Send(&testpb.StreamingOutputCallRequest{}); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	exchange()
	a.conn.Shutdown()
	a.await(t, connectivity.Shutdown)
	exchange()
	if err := stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err == nil {
		t.Error("the stream did not end")
	}
}

func TestAFailedAttemptIsReportedWithItsCauseAndNotRepeated(t *testing.T) {
	ch := newChannel(t, filepath.Join(t.TempDir(), "nobody"))
	o := &owner{states: make(chan connectivity.State, 16)}
	conn, err := ch.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	conn.Connect()
	o.await(t, connectivity.TransientFailure)
	conn.Shutdown()
	o.await(t, connectivity.Shutdown)
}

func TestTheUsersServiceConfigIsMergedWithOurs(t *testing.T) {
	for name, c := range map[string]struct{ user, want string }{
		"none": {"", `{"loadBalancingConfig":[{"enclavepool":{}}],"retryThrottling":{"maxTokens":1000,"tokenRatio":0.1}}`},
		"own throttling and methods": {`{"methodConfig":[],"retryThrottling":{"maxTokens":5,"tokenRatio":0.5}}`,
			`{"loadBalancingConfig":[{"enclavepool":{}}],"methodConfig":[],"retryThrottling":{"maxTokens":5,"tokenRatio":0.5}}`},
	} {
		if got, err := lb.ServiceConfig(c.user); err != nil || got != c.want {
			t.Errorf("%s: %s, %v; want %s", name, got, err, c.want)
		}
	}
	for _, bad := range []string{`[]`, `{`, `null`, `{"loadBalancingConfig":[{"round_robin":{}}]}`, `{"loadBalancingPolicy":"pick_first"}`} {
		if got, err := lb.ServiceConfig(bad); err == nil {
			t.Errorf("%s was accepted as %s", bad, got)
		}
	}
}
