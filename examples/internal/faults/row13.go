package faults

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	"github.com/enclavepool/enclavepool/examples/internal/enclave"
	"github.com/enclavepool/enclavepool/pool"
)

// row13 demands TLS of an enclave that speaks plaintext, and of one whose certificate is from an authority that nobody
// trusts. The latter is in this process: all it does is shake hands. Then a verifier refuses an enclave, or panics.
var row13 = row{
	number: 13,
	fault:  "TLS or peer verification fails",
	held:   "connection never admitted; its own error and metric; long backoff",
	how: "TLS credentials against a plaintext enclave, and against a certificate of an unknown authority; a verifier that refuses a " +
		"plaintext enclave, and one that panics. Pool.Stats is looked " +
		"at every 250 µs; attempts are counted in the dialer from the second second on.",
	run: func(ctx context.Context, r *rig, res *Result) error {
		plain, err := r.enclave(ctx, "a")
		if err != nil {
			return err
		}
		var record tls.RecordHeaderError
		demanding := pool.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS13}))
		if err := untrusted(ctx, r, res, "plaintext instead of TLS", plain, demanding, func(err error) bool { return errors.As(err, &record) }); err != nil {
			return err
		}
		stranger := stack.NewEnclave("", r.dir, "s", r.transport)
		end, err := serveTLS(stranger.Target)
		if err != nil {
			return err
		}
		defer end()
		var unknown x509.UnknownAuthorityError
		if err := untrusted(ctx, r, res, "a certificate of an unknown authority", stranger, demanding, func(err error) bool { return errors.As(err, &unknown) }); err != nil {
			return err
		}
		refused := errors.New("nobody that is known here")
		refuse := pool.WithPeerVerifier(func(context.Context, pool.PeerInfo) error { return refused })
		if err := untrusted(ctx, r, res, "refused by the verifier", plain, refuse, func(err error) bool { return errors.Is(err, refused) }); err != nil {
			return err
		}
		broken := pool.WithPeerVerifier(func(context.Context, pool.PeerInfo) error { panic("a mistake in the verifier") })
		if err := untrusted(ctx, r, res, "a verifier that panics", plain, broken, func(err error) bool { return errors.Is(err, pool.ErrPeerRejected) }); err != nil {
			return err
		}
		heard, err := heard(ctx, plain)
		if err != nil {
			return err
		}
		res.must(heard == 0, "the enclave heard %d calls, health checks included", heard)
		res.say("its metric, pool_dials with result rejected, is shown by TestAPeerThatIsRejectedIsNeverAdmittedAndTriedRarelyUntilItIsWell " +
			"and TestAPeerThatIsRefusedIsNeverRoutedToInAnyMode (package pool)")
		return nil
	},
}

// untrusted opens a pool that demands something of its peers, and looks at what it makes of an enclave.
func untrusted(ctx context.Context, r *rig, res *Result, what string, e *stack.Enclave, demand pool.Option, cause func(error) bool) error {
	dials := new(attempts)
	began := time.Now()
	p, err := r.open(config(e), demand, pool.WithDialer(dials.dial))
	if err != nil {
		return err
	}
	defer closePool(p)
	l := traffic{pool: p, rate: 100, choose: to(e.ID)}.start()
	admitted, said := 0, false
	for until := began.Add(r.lasting(5*time.Second, 500*time.Millisecond)); time.Now().Before(until) && ctx.Err() == nil; time.Sleep(lookEvery) {
		stats := p.Stats().Enclaves[e.ID]
		admitted, said = max(admitted, stats.HealthyConns), said || cause(stats.Cause)
	}
	made := l.stop()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	stats := p.Stats().Enclaves[e.ID]
	kinds, wrong := made.kinds(func(c call) bool { return unavailable(c) && unsent(c.err) && errors.Is(c.err, pool.ErrUnavailable) })
	res.Broken = append(res.Broken, wrong...)
	res.must(admitted == 0, "%s: %d connections were admitted", what, admitted)
	res.must(len(made.failed()) == len(made), "%s: calls succeeded", what)
	res.must(errors.Is(stats.Cause, pool.ErrPeerRejected), "%s: the cause in Pool.Stats is not ErrPeerRejected: %v", what, stats.Cause)
	res.must(said, "%s: the cause in Pool.Stats does not say so: %v", what, stats.Cause)
	tries := dials.begun(e.Target, began.Add(time.Second), time.Now())
	res.say("%s: 0 admitted, calls failed: %s; cause: %v", what, kinds, stats.Cause)
	if !r.quick {
		res.say("%s: at most %d attempts in a second", what, busiest(tries, time.Second))
		res.must(busiest(tries, time.Second) <= 50, "%s: %d attempts within a second", what, busiest(tries, time.Second))
	}
	return nil
}

// serveTLS shakes hands with a certificate that nobody has reason to trust.
func serveTLS(target string) (end func(), err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "stranger"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate: %w", err)
	}
	lis, err := enclave.Listen(target)
	if err != nil {
		return nil, err
	}
	conf := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert}, PrivateKey: key}}, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS13}
	var done sync.WaitGroup
	done.Go(func() {
		for {
			c, err := lis.Accept()
			if err != nil {
				return
			}
			done.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(time.Second))   // it fails only when c is closed
				_, _ = tls.Server(c, conf).Read(make([]byte, 1)) // the client hangs up
			})
		}
	})
	return func() {
		lis.Close()
		done.Wait()
	}, nil
}
