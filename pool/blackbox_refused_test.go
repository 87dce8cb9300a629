package pool_test

import (
	"context"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/enclavepool/enclavepool/pool"
)

// refuser is the least HTTP/2 server that refuses every stream, which gRPC's
// own cannot be made to do.
type refuser struct{ refused atomic.Uint64 }

func (r *refuser) serve(c net.Conn) {
	defer c.Close()
	if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	f := http2.NewFramer(c, c)
	if f.WriteSettings() != nil {
		return
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				err = f.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				err = f.WritePing(true, frame.Data)
			}
		case *http2.HeadersFrame:
			r.refused.Add(1)
			err = f.WriteRSTStream(frame.StreamID, http2.ErrCodeRefusedStream)
		}
		if err != nil {
			return
		}
	}
}

// With a retry policy the attempts beyond one for each call, and its transparent repetition, are what gRPC's retry budget
// allows: half of the 1000 tokens, and then no more.
func TestRetriesOfRefusedStreamsAreBoundedByTheBudget(t *testing.T) {
	var enclave refuser
	cfg := socketConfig()
	cfg.Enclaves = []pool.Enclave{{ID: "a", Target: "refuser"}}
	cfg.Health.Disabled = true
	p := newPool(t, cfg, pool.WithServiceConfig(retryUnaryCall), pool.WithDialer(func(context.Context, string) (net.Conn, error) {
		client, server := net.Pipe()
		go enclave.serve(server)
		return client, nil
	}))
	ready(t, p)
	attempts := func(n int) uint64 {
		before := enclave.refused.Load()
		for range n {
			if _, err := client(p, "a").UnaryCall(within(t, patience), &grpc_testing.SimpleRequest{Payload: body(32)}); err == nil {
				t.Fatal("a refused call succeeded")
			}
		}
		return enclave.refused.Load() - before
	}
	const n = 500
	spent := attempts(n) // five attempts each would be 2500
	if spent > 2*n+500 {
		t.Errorf("%d calls made %d attempts while there was a budget", n, spent)
	}
	if spent = attempts(n); spent > 2*n {
		t.Errorf("%d calls made %d attempts when the budget was gone", n, spent)
	}
	s := stats(p, "a")
	if got := enclave.refused.Load(); s.StreamResets != got || s.Dials != 2 || s.HealthyConns != 2 || s.InFlight != 0 {
		t.Errorf("%d resets counted of %d, %d dials, %d Healthy, InFlight %d", s.StreamResets, got, s.Dials, s.HealthyConns, s.InFlight)
	}
}

func TestRefusedStreamsAreNoReasonToReconnectAndAreReportedAsRefused(t *testing.T) {
	var enclave refuser
	cfg := socketConfig()
	cfg.Enclaves = []pool.Enclave{{ID: "a", Target: "refuser"}}
	cfg.Health.Disabled = true
	p := newPool(t, cfg, pool.WithDialer(func(context.Context, string) (net.Conn, error) {
		client, server := net.Pipe()
		go enclave.serve(server)
		return client, nil
	}))
	ready(t, p)
	const n = 20
	otherwise := 0
	for range n {
		_, err := client(p, "a").UnaryCall(t.Context(), &grpc_testing.SimpleRequest{Payload: body(32)})
		// When the repeated attempt is reset while it is being sent, gRPC
		// reports that the stream ended and not why: that may be Unknown.
		switch e := poolError(t, err, "a", pool.ErrUnavailable, codes.Unavailable); e.Disposition {
		case pool.Refused:
		case pool.Unknown:
			otherwise++
			if strings.Contains(err.Error(), "REFUSED_STREAM") {
				t.Errorf("%v, and yet %v", err, e.Disposition)
			}
		default:
			t.Errorf("%v: %v", err, e.Disposition)
		}
	}
	if otherwise > n/2 {
		t.Errorf("%d of %d refused calls were not reported as refused", otherwise, n)
	}
	s := stats(p, "a")
	if got := enclave.refused.Load(); got > 2*n || s.StreamResets != got {
		t.Errorf("%d calls made %d attempts, %d resets counted; want at most one transparent retry each, all counted", n, got, s.StreamResets)
	}
	if s.Dials != 2 || s.HealthyConns != 2 || s.InFlight != 0 {
		t.Errorf("%d dials, %d Healthy, InFlight %d; want 2, 2, 0", s.Dials, s.HealthyConns, s.InFlight)
	}
}
