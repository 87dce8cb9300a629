package faults

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/attestation"
	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	"github.com/enclavepool/enclavepool/pool"
)

// row14 kills an enclave, and starts others in its place that are not the one that is meant: one of the same image that
// the hypervisor has another name for, one of another image, and one without attestation. Then the enclave itself comes back.
var row14 = row{
	number: 14,
	fault:  "a different enclave answers on the same address",
	held:   "never admitted when identity checking is on",
	how: "Attested TLS (package internal/attestation), with a policy for one image and one module ID. The enclave is killed under load " +
		"and others listen at its address, a while each. Pool.Stats is looked at every 250 µs; the enclave counts what it hears. " +
		"DialTimeout is 5 s: 32 documents at a time are work.",
	run: func(ctx context.Context, r *rig, res *Result) error {
		authority, err := attestation.NewAuthority(time.Now())
		if err != nil {
			return err
		}
		file := filepath.Join(r.dir, "authority.pem")
		if err := authority.Save(file); err != nil {
			return err
		}
		meant, err := r.enclave(ctx, "a", "-attest", file, "-image", "signer", "-module-id", "meant")
		if err != nil {
			return err
		}
		policy := attestation.Policy{Roots: x509.NewCertPool(), PCRs: map[int][]byte{0: attestation.Measure("signer")}, ModuleID: "meant"}
		policy.Roots.AddCert(authority.Root())
		cfg := config(meant)
		cfg.DialTimeout = 5 * time.Second
		p, err := r.pool(ctx, cfg, attestation.PoolOptions(policy)...)
		if err != nil {
			return err
		}
		l := traffic{pool: p, rate: min(r.rate, 500), choose: to("a")}.start()
		stop := func() { l.stop() }
		defer func() { stop() }()
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
		meant.Kill()
		if _, err := awaitGone(ctx, p, "a"); err != nil {
			return err
		}
		gone := time.Now()
		for _, other := range []struct {
			name string
			args []string
			why  error // nil: the TLS handshake fails
		}{
			{"another enclave of the same image", []string{"-attest", file, "-image", "signer", "-module-id", "another"}, attestation.ErrCode},
			{"an enclave of another image", []string{"-attest", file, "-image", "another", "-module-id", "meant"}, attestation.ErrCode},
			{"an enclave without attestation", nil, nil},
		} {
			if err := impostor(ctx, r, res, p, other.name, other.why, other.args); err != nil {
				return err
			}
		}
		if err := meant.Start(ctx); err != nil {
			return err
		}
		back := time.Now()
		full, err := awaitFull(ctx, p, "a")
		if err != nil {
			return err
		}
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
		made := l.stop()
		stop = func() {}
		during := made.begun(gone, back)
		res.must(len(during.failed()) == len(during), "%d of %d calls succeeded while others answered", len(during)-len(during.failed()), len(during))
		res.must(len(made.begun(full, time.Now()).failed()) == 0, "calls failed once the enclave itself was back")
		kinds, wrong := during.kinds(unavailable)
		res.Broken = append(res.Broken, wrong...)
		res.say("%d calls while others answered, all failed: %s", len(during), kinds)
		res.say("the enclave itself is complete again after %s: a peer that was rejected is tried rarely", short(full.Sub(back)))
		return nil
	},
}

// impostor lets another enclave answer in the place of "a" for a while.
func impostor(ctx context.Context, r *rig, res *Result, p *pool.Pool, name string, why error, args []string) error {
	e, err := r.enclave(ctx, "a", args...)
	if err != nil {
		return err
	}
	if err := awaitTried(ctx, e); err != nil {
		return err
	}
	// The first rejection's: an attempt of a later time may have been cut short by a starved machine.
	var cause error
	rejected := func(s pool.EnclaveStats) bool {
		cause = s.Cause
		return errors.Is(s.Cause, pool.ErrPeerRejected) && (why == nil || errors.Is(s.Cause, why))
	}
	if _, err := await(ctx, p, "a", "rejected", rejected); err != nil {
		return err
	}
	admitted := 0
	for until := time.Now().Add(r.lasting(5*time.Second, 500*time.Millisecond)); time.Now().Before(until) && ctx.Err() == nil; time.Sleep(lookEvery) {
		admitted = max(admitted, p.Stats().Enclaves["a"].HealthyConns)
	}
	n, err := heard(ctx, e)
	if err != nil {
		return err
	}
	e.Kill()
	res.must(admitted == 0, "%s: %d connections were admitted", name, admitted)
	res.must(n == 0, "%s: it heard %d calls, health checks included", name, n)
	res.say("%s: 0 admitted, 0 calls heard; cause: %v", name, cause)
	return nil
}

// awaitTried waits until an enclave's process has had a connection.
func awaitTried(ctx context.Context, e *stack.Enclave) error {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		s, err := e.Stats(ctx)
		if err != nil || s.ConnectionsAccepted > 0 {
			return err
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s: no connection within %v", e.ID, patience)
}

// heard is how many calls an enclave's process has had, health checks included.
func heard(ctx context.Context, e *stack.Enclave) (n uint64, err error) {
	s, err := e.Stats(ctx)
	for _, calls := range s.RPCs {
		n += calls
	}
	return n, err
}
