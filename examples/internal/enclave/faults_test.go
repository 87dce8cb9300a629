package enclave

import (
	"context"
	"os"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

func set(t *testing.T, s *Server, f Faults) {
	t.Helper()
	if err := s.SetFaults(f); err != nil {
		t.Fatal(err)
	}
}

func TestStalledCallsHangUntilTheirDeadline(t *testing.T) {
	s, address := start(t, Options{})
	c := client(t, address)
	create(t, c, "k", edAlg)
	st := openStream(t, c)
	set(t, s, Faults{StallFraction: 1})

	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	_, err := c.Sign(ctx, &signerv1.SignRequest{KeyId: "k", Digest: digest})
	if status.Code(err) != codes.DeadlineExceeded || time.Since(began) < 50*time.Millisecond {
		t.Errorf("unary: %v after %v", err, time.Since(began))
	}
	m := signMessage(1, "k")
	m.Timeout = durationpb.New(50 * time.Millisecond)
	began = time.Now()
	if e := ask(t, st, m).GetError(); e.GetCode() != int32(codes.DeadlineExceeded) || time.Since(began) < 50*time.Millisecond {
		t.Errorf("stream: %v after %v", e, time.Since(began))
	}
	set(t, s, Faults{})
	if ask(t, st, signMessage(2, "k")).GetSign() == nil {
		t.Error("the stream did not survive the stall")
	}
}

func TestDelayedCallsTakeThatMuchLonger(t *testing.T) {
	s, address := start(t, Options{Faults: Faults{Delay: 30 * time.Millisecond}})
	c := client(t, address)
	began := time.Now()
	create(t, c, "k", edAlg)
	if d := time.Since(began); d < 30*time.Millisecond {
		t.Errorf("a unary call took %v", d)
	}
	st := openStream(t, c)
	began = time.Now()
	ask(t, st, signMessage(1, "k"))
	if d := time.Since(began); d < 30*time.Millisecond {
		t.Errorf("an exchange took %v", d)
	}
	if f := s.Faults(); f.DelayFraction != 1 {
		t.Errorf("delay without a fraction meets %v of the calls", f.DelayFraction)
	}
	m := signMessage(2, "k")
	m.Timeout = durationpb.New(time.Millisecond)
	if e := ask(t, st, m).GetError(); e.GetCode() != int32(codes.DeadlineExceeded) {
		t.Errorf("a delay past the deadline gave %v", e)
	}
}

func TestRefusedCallsGetTheCodeAndStreamsGoOn(t *testing.T) {
	s, address := start(t, Options{})
	c := client(t, address)
	create(t, c, "k", edAlg)
	st := openStream(t, c)
	set(t, s, Faults{RefuseFraction: 1, RefuseCode: codes.ResourceExhausted})
	if _, err := c.Sign(limited(t), &signerv1.SignRequest{KeyId: "k", Digest: digest}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("unary: %v", err)
	}
	if e := ask(t, st, signMessage(1, "k")).GetError(); e.GetCode() != int32(codes.ResourceExhausted) {
		t.Errorf("stream: %v", e)
	}
	if got := s.Stats().Signatures; got != 0 {
		t.Errorf("%d signatures made for refused calls", got)
	}
	set(t, s, Faults{})
	if ask(t, st, signMessage(2, "k")).GetSign() == nil {
		t.Error("the stream did not survive the refusal")
	}
}

func TestFractionsMeetTheirShareOfTheCalls(t *testing.T) {
	s, address := start(t, Options{Faults: Faults{RefuseFraction: 0.5}})
	st := openStream(t, client(t, address))
	refused := 0
	const n = 400 // outside 120…280 once in 10^15 runs
	for id := range uint64(n) {
		if ask(t, st, signMessage(id, "k")).GetError().GetCode() == int32(codes.Unavailable) {
			refused++
		}
	}
	if refused < 120 || refused > 280 {
		t.Errorf("%d of %d calls refused, want about half", refused, n)
	}
	if got := s.Stats().Exchanges; got != n {
		t.Errorf("%d exchanges counted, want %d", got, n)
	}
}

func TestResetCallsGetARealRSTStreamAndTheConnectionLives(t *testing.T) {
	for _, c := range []struct {
		code http2.ErrCode
		want codes.Code
	}{
		{http2.ErrCodeInternal, codes.Internal},
		{http2.ErrCodeCancel, codes.Canceled},
		{http2.ErrCodeRefusedStream, codes.Unavailable},
	} {
		t.Run(c.code.String(), func(t *testing.T) {
			s, address := start(t, Options{})
			spy := newSpy()
			cl := signerv1.NewSignerServiceClient(dial(t, address, spy))
			create(t, cl, "k", edAlg)
			st := openStream(t, cl)
			ask(t, st, signMessage(1, "k"))

			set(t, s, Faults{ResetFraction: 1, ResetCode: c.code})
			if _, err := cl.Sign(limited(t), &signerv1.SignRequest{KeyId: "k", Digest: digest}); status.Code(err) != c.want {
				t.Errorf("unary: %v, want %v", err, c.want)
			}
			if got := next(t, spy.resets); got != c.code {
				t.Errorf("RST_STREAM said %v", got)
			}
			if err := st.Send(signMessage(2, "k")); err != nil {
				t.Fatal(err)
			}
			if _, err := st.Recv(); status.Code(err) != c.want {
				t.Errorf("stream: %v, want %v", err, c.want)
			}
			if got := next(t, spy.resets); got != c.code {
				t.Errorf("RST_STREAM said %v", got)
			}

			set(t, s, Faults{})
			if _, err := cl.Sign(limited(t), &signerv1.SignRequest{KeyId: "k", Digest: digest}); err != nil {
				t.Errorf("after the faults: %v", err)
			}
			if st := s.Stats(); st.ConnectionsAccepted != 1 || st.StreamsReset < 2 {
				t.Errorf("stats %+v: want the first connection still, and two resets or more", st)
			}
		})
	}
}

func TestEveryNthCallLosesItsConnection(t *testing.T) {
	s, address := start(t, Options{})
	c := client(t, address)
	set(t, s, Faults{DropEveryCalls: 3})
	var failed []int
	for i := 1; i <= 9; i++ {
		if _, err := c.Create(limited(t), &signerv1.CreateRequest{KeyId: "k", Algorithm: edAlg}, waitForReady); err != nil {
			if status.Code(err) != codes.Unavailable {
				t.Errorf("call %d: %v", i, err)
			}
			failed = append(failed, i)
		}
	}
	if len(failed) != 3 || failed[0] != 3 || failed[1] != 6 || failed[2] != 9 {
		t.Errorf("calls %v failed, want 3, 6 and 9", failed)
	}
	if got := s.Stats().ConnectionsDropped; got != 3 {
		t.Errorf("%d connections dropped, want 3", got)
	}
}

func TestEveryNthConnectionIsClosedAtOnce(t *testing.T) {
	s, address := start(t, Options{Faults: Faults{DropEveryConns: 2}})
	create(t, client(t, address), "k", edAlg)
	// The second connection is closed, the third serves the call.
	if _, err := client(t, address).Create(limited(t), &signerv1.CreateRequest{KeyId: "k", Algorithm: edAlg}, waitForReady); err != nil {
		t.Error(err)
	}
	if st := s.Stats(); st.ConnectionsAccepted != 3 || st.ConnectionsDropped != 1 {
		t.Errorf("stats %+v, want 3 accepted and 1 dropped", st)
	}
}

func TestDropConnsClosesAsManyAsAsked(t *testing.T) {
	s, address := start(t, Options{})
	var streams []signerv1.SignerService_SignStreamClient
	for range 3 {
		c := client(t, address)
		create(t, c, "k", edAlg)
		streams = append(streams, openStream(t, c))
		ask(t, streams[len(streams)-1], signMessage(1, "k"))
	}
	if n := s.DropConns(2); n != 2 {
		t.Errorf("dropped %d, want 2", n)
	}
	if n := s.Stats().ConnectionsOpen; n != 1 {
		t.Errorf("%d open, want 1", n)
	}
	if n := s.DropConns(0); n != 1 {
		t.Errorf("dropped %d, want the last one", n)
	}
	for i, st := range streams {
		if _, err := st.Recv(); status.Code(err) != codes.Unavailable {
			t.Errorf("stream %d: %v", i, err)
		}
	}
}

func TestNotServingShowsInHealthOnly(t *testing.T) {
	s, address := start(t, Options{})
	cc := dial(t, address, nil)
	check := func() healthpb.HealthCheckResponse_ServingStatus {
		res, err := healthpb.NewHealthClient(cc).Check(limited(t), &healthpb.HealthCheckRequest{Service: signerv1.SignerService_ServiceDesc.ServiceName})
		if err != nil {
			t.Fatal(err)
		}
		return res.GetStatus()
	}
	if got := check(); got != healthpb.HealthCheckResponse_SERVING {
		t.Errorf("at the start %v", got)
	}
	set(t, s, Faults{NotServing: true, RefuseFraction: 1})
	if got := check(); got != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("after the switch %v", got)
	}
	set(t, s, Faults{RefuseFraction: 1, HealthToo: true})
	if _, err := healthpb.NewHealthClient(cc).Check(limited(t), &healthpb.HealthCheckRequest{}); status.Code(err) != codes.Unavailable {
		t.Errorf("with health_too %v", err)
	}
}

func TestStreamLimitIsLoweredOnOpenConnectionsAndNewOnes(t *testing.T) {
	s, address := start(t, Options{MaxConcurrentStreams: 50})
	spy := newSpy()
	first := signerv1.NewSignerServiceClient(dial(t, address, spy))
	create(t, first, "k", edAlg)
	if n := next(t, spy.limits); n != 50 {
		t.Errorf("began with %d, want 50", n)
	}
	set(t, s, Faults{MaxConcurrentStreams: 1})
	if n := next(t, spy.limits); n != 1 {
		t.Errorf("lowered to %d, want 1", n)
	}
	create(t, first, "k", edAlg)

	late := newSpy()
	second := signerv1.NewSignerServiceClient(dial(t, address, late))
	create(t, second, "k", edAlg)
	if n := next(t, late.limits); n != 1 {
		t.Errorf("a new connection began with %d, want 1", n)
	}
	st := openStream(t, second)
	ask(t, st, signMessage(1, "k"))
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if _, err := second.Sign(ctx, &signerv1.SignRequest{KeyId: "k", Digest: digest}); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("a second stream was opened under a limit of 1: %v", err)
	}
	set(t, s, Faults{})
	if n := next(t, late.limits); n != 50 {
		t.Errorf("raised to %d, want 50", n)
	}
	if _, err := second.Sign(limited(t), &signerv1.SignRequest{KeyId: "k", Digest: digest}); err != nil {
		t.Error(err)
	}
}

func TestUnixSocketIsForItsOwnerOnlyAndRemovedOnClose(t *testing.T) {
	s, address := start(t, Options{})
	path := address[len("unix:"):]
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		t.Errorf("mode %v", info.Mode())
	}
	create(t, client(t, address), "k", edAlg) // so that it is serving by now
	s.Close()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("after Close: %v", err)
	}
}
