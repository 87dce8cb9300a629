package main

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/attestation"
	"github.com/enclavepool/enclavepool/examples/internal/command"
	"github.com/enclavepool/enclavepool/examples/signer"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
	"github.com/enclavepool/enclavepool/pool"
)

// limit is the longest a run may take, whatever happens.
const limit = time.Minute

// conns is how many connections there are to each enclave.
const conns = 4

func main() {
	os.Exit(run(command.Context(), os.Args[1:], os.Stdout, os.Stderr))
}

const help = `usage: attest

Starts five fake enclaves with attested TLS and a pool that has a policy. One enclave keeps to it; the others are
impostors. Exits with 0 when that one was admitted and no other, 1 when not, 2 when there are arguments.
`

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 {
		fmt.Fprint(stderr, help)
		if strings.TrimLeft(args[0], "-") == "help" || args[0] == "-h" {
			return command.Fine
		}
		return command.BadFlags
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	wrong, err := demonstrate(ctx, stdout)
	if err != nil {
		fmt.Fprintln(stderr, "attest:", err)
	}
	if err != nil || wrong > 0 {
		fmt.Fprintf(stdout, "\nFAILED: %d of the five were not treated as they should be\n", wrong)
		return command.Failed
	}
	fmt.Fprintln(stdout, "\nOK: one enclave admitted, four impostors refused before they heard a call")
	return command.Fine
}

// demonstrate returns how many of the five were not treated as they should be.
func demonstrate(ctx context.Context, out io.Writer) (wrong int, err error) {
	dir, err := os.MkdirTemp("", "attest") // for this user alone, mode 0700
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	authority, err := attestation.NewAuthority(time.Now())
	if err != nil {
		return 0, err
	}
	peers, err := serveAll(ctx, dir, authority)
	defer func() {
		for _, s := range peers {
			err = errors.Join(err, s.close())
		}
	}()
	if err != nil {
		return 0, err
	}

	policy := attestation.Policy{Roots: x509.NewCertPool(), PCRs: map[int][]byte{0: attestation.Measure(image)}}
	policy.Roots.AddCert(authority.Root())
	cfg := pool.DefaultConfig()
	cfg.MinConns, cfg.MaxConns = conns, conns
	cfg.DialTimeout = 5 * time.Second // a document costs milliseconds of arithmetic, and machines differ
	for _, s := range peers {
		cfg.Enclaves = append(cfg.Enclaves, pool.Enclave{ID: s.id, Target: s.target})
	}
	opts := append(attestation.PoolOptions(policy), pool.WithUnixPeer(pool.UnixPeer{}), pool.WithLogger(slog.New(slog.DiscardHandler)))
	p, err := pool.New(cfg, opts...)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, p.Close(ctx)) }()

	fmt.Fprintf(out, "The policy: a chain to %q, PCR0 %.4x…, the connection's own nonce and TLS key.\n\n", authority.Root().Subject.CommonName, attestation.Measure(image))
	for _, s := range peers {
		cause, err := settle(ctx, p, s.id)
		if err != nil {
			return wrong, err
		}
		signErr := sign(ctx, p, s.id)
		fine := cause == nil && signErr == nil
		verdict := "admitted: its signature verifies"
		if s.want != nil {
			fine = errors.Is(cause, s.want) && errors.Is(cause, pool.ErrPeerRejected) && errors.Is(signErr, pool.ErrPeerRejected) && s.heard.Load() == 0
			verdict = fmt.Sprintf("refused, %d calls heard: %v", s.heard.Load(), reason(cause))
		}
		mark := "ok  "
		if !fine {
			mark, verdict = "FAIL", fmt.Sprintf("cause %v, signing: %v, %d calls heard", cause, signErr, s.heard.Load())
			wrong++
		}
		fmt.Fprintf(out, "%s %-11s %s\n     %-11s → %s\n", mark, s.id, s.story, "", verdict)
	}
	return wrong, nil
}

// settle waits until an enclave has all its connections, which is nil, or for why it has none.
func settle(ctx context.Context, p *pool.Pool, id string) (cause, err error) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		s := p.Stats().Enclaves[id]
		switch {
		case s.HealthyConns == conns:
			return nil, nil
		case s.HealthyConns == 0 && s.Cause != nil:
			return s.Cause, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("%s: neither admitted nor refused: %w", id, ctx.Err())
		}
	}
}

// sign makes a key in an enclave, has it sign, and verifies the signature.
func sign(ctx context.Context, p *pool.Pool, id string) error {
	client := signerv1.NewSignerServiceClient(p.Conn(id))
	key, err := client.Create(ctx, &signerv1.CreateRequest{Algorithm: signerv1.Algorithm_ALGORITHM_ED25519})
	if err != nil {
		return err
	}
	digest := sha256.Sum256([]byte("invoice 7"))
	res, err := client.Sign(ctx, &signerv1.SignRequest{KeyId: key.GetKeyId(), Digest: digest[:]})
	if err != nil {
		return err
	}
	return signer.Verify(key.GetAlgorithm(), key.GetPublicKey(), digest[:], res.GetSignature())
}

// reason is the part of a refusal that tells one from another.
func reason(err error) string {
	_, after, found := strings.Cut(err.Error(), "attestation: ")
	if !found {
		return err.Error()
	}
	return after
}
