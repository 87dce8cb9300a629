package pool_test

import (
	"context"
	"crypto/tls"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

// Peers that fail the handshake: with a certificate of somebody else's, without
// any, and one that wants ours and gets none.
func TestAPeerThatIsRejectedIsNeverAdmittedAndTriedRarelyUntilItIsWell(t *testing.T) {
	for name, bad := range map[string]func(good *tls.Config, t *testing.T) *tls.Config{
		"another's certificate": func(_ *tls.Config, t *testing.T) *tls.Config {
			other, _ := tlsConfigs(t, "localhost")
			return other
		},
		"a certificate for another name": func(_ *tls.Config, t *testing.T) *tls.Config {
			other, _ := tlsConfigs(t, "elsewhere")
			return other
		},
		"it wants a certificate of ours": func(good *tls.Config, _ *testing.T) *tls.Config {
			strict := good.Clone()
			strict.ClientAuth = tls.RequireAnyClientCert
			return strict
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				good, trusting := tlsConfigs(t, "localhost")
				good.NextProtos = []string{"h2"}
				wrong := bad(good, t)
				wrong.NextProtos = []string{"h2"}
				var isWell atomic.Bool
				serving := &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"},
					GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
						if isWell.Load() {
							return good, nil
						}
						return wrong, nil
					}}
				e := pooltest.NewMemory(t, (&service{}).register, pooltest.WithServerOptions(grpc.Creds(credentials.NewTLS(serving))))
				option, collect := meters(t)
				p := newPool(t, config(e), pool.WithDialer(e.Dialer()), option,
					pool.WithTransportCredentials(credentials.NewTLS(trusting)))
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				events := follow(ctx, p)

				time.Sleep(time.Minute)
				synctest.Wait()
				s := stats(p, "a")
				// At 0, 1, 3, 7, 15, 31 and 61 s, give or take a fifth.
				if s.HealthyConns != 0 || s.Dials < 10 || s.Dials > 16 {
					t.Errorf("in a minute: %d Healthy, %d attempts by 2 places", s.HealthyConns, s.Dials)
				}
				if got := byResult(t, collect()["pool_dials"]); got["rejected"] != int64(s.Dials) || got["failed"] != 0 {
					t.Errorf("pool_dials %v, want %d rejected", got, s.Dials)
				}
				want(t, "nothing was ever admitted", events.take())
				start := time.Now()
				_, err := p.Acquire(t.Context(), "a")
				poolError(t, err, "a", pool.ErrUnavailable, codes.Unavailable)
				if !errors.Is(err, pool.ErrPeerRejected) || time.Since(start) != 0 {
					t.Errorf("after %v: %v; want ErrPeerRejected among the causes, at once", time.Since(start), err)
				}

				isWell.Store(true)
				time.Sleep(40 * time.Second)
				ready(t, p)
				everyKindOfCall(t.Context(), t, client(p, "a"))
			})
		})
	}
}

func TestAPlaintextServerIsRejectedByTLS(t *testing.T) {
	bubble(t, func(t *testing.T) {
		_, trusting := tlsConfigs(t, "localhost")
		e := pooltest.NewMemory(t, (&service{}).register)
		p := newPool(t, config(e), pool.WithDialer(e.Dialer()), pool.WithTransportCredentials(credentials.NewTLS(trusting)))
		err := p.Ready(within(t, 3*time.Second))
		if !errors.Is(err, pool.ErrPeerRejected) {
			t.Errorf("Ready: %v", err)
		}
	})
}
