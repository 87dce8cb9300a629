package enclave

import (
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

// Frames of our own among those of a busy connection: one in the wrong place and the client's reader or
// ours gives the connection up, one lost or doubled and the counts differ.
func TestResetsAndSettingsAmongBusyTrafficHarmNothingElse(t *testing.T) {
	s, address := start(t, Options{})
	spy := newSpy()
	c := signerv1.NewSignerServiceClient(dial(t, address, spy))
	create(t, c, "k", edAlg)
	set(t, s, Faults{ResetFraction: 0.2, ResetCode: http2.ErrCodeEnhanceYourCalm})

	const callers, calls, switches = 16, 100, 50
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() { // unary
			for range calls {
				_, err := c.Sign(limited(t), &signerv1.SignRequest{KeyId: "k", Digest: digest})
				if code := status.Code(err); code != codes.OK && code != codes.ResourceExhausted {
					t.Errorf("unary: %v", err)
				}
			}
		})
		wg.Go(func() { // on streams
			var st signerv1.SignerService_SignStreamClient
			for id := range uint64(calls) {
				if st == nil {
					var err error
					if st, err = c.SignStream(limited(t)); err != nil {
						t.Errorf("opening a stream: %v", err)
						return
					}
				}
				err := st.Send(signMessage(id, "k"))
				if err == nil {
					_, err = st.Recv()
				}
				if code := status.Code(err); code == codes.ResourceExhausted {
					st = nil
				} else if code != codes.OK {
					t.Errorf("stream: %v", err)
				}
			}
		})
	}
	for i := range switches {
		f := s.Faults()
		f.MaxConcurrentStreams = uint32(100 - i)
		set(t, s, f)
	}
	wg.Wait()

	stats := s.Stats()
	if stats.ConnectionsAccepted != 1 || stats.StreamsReset < callers*calls/5 {
		t.Errorf("%d connections, want 1; %d resets, want some %d", stats.ConnectionsAccepted, stats.StreamsReset, 2*callers*calls/5)
	}
	for range stats.StreamsReset {
		if code := next(t, spy.resets); code != http2.ErrCodeEnhanceYourCalm {
			t.Errorf("RST_STREAM said %v", code)
		}
	}
	if n := len(spy.resets); n != 0 {
		t.Errorf("%d resets more than the enclave counted", n)
	}
	limits := []uint32{next(t, spy.limits)}
	for limits[len(limits)-1] != 100-switches+1 {
		limits = append(limits, next(t, spy.limits))
	}
	for i := 1; i < len(limits); i++ {
		if limits[i] >= limits[i-1] {
			t.Errorf("stream limits arrived out of order: %v", limits)
			break
		}
	}
}
