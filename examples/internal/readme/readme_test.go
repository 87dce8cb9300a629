package readme

import (
	"context"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/enclavepool/enclavepool/examples/internal/enclave"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
	"github.com/enclavepool/enclavepool/internal/target"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheReadmeShowsTheCodeThatIsTestedHere(t *testing.T) {
	source, err := os.ReadFile("ways.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(source), "\t// begin: ")[1:]
	if len(blocks) != 6 {
		t.Fatalf("%d blocks, want 6", len(blocks))
	}
	for _, block := range blocks {
		name, code, _ := strings.Cut(block, "\n")
		code, _, _ = strings.Cut(code, "\t// end")
		code = strings.TrimPrefix(strings.ReplaceAll("\n"+code, "\n\t", "\n"), "\n")
		if !strings.Contains(string(readme), code) {
			t.Errorf("the README does not show %q as it stands in ways.go:\n%s", name, code)
		}
	}
}

func startEnclave(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "readme")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	address := "unix:" + filepath.Join(dir, "s")
	parsed, err := target.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	lis, err := parsed.Listen()
	if err != nil {
		t.Fatal(err)
	}
	s, err := enclave.New(enclave.Options{})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(lis) }()
	t.Cleanup(func() {
		s.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return address
}

func TestTheReadmesExamplesRun(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	p, err := open(ctx, startEnclave(t), startEnclave(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
	}()
	digest := sha256.Sum256([]byte("to be signed"))

	if sig, err := lease(ctx, p, digest[:]); err != nil || len(sig) == 0 {
		t.Errorf("lease: %d bytes, %v", len(sig), err)
	}
	for _, id := range []string{"a", "b"} {
		if _, err := signerv1.NewSignerServiceClient(p.Conn(id)).Create(ctx, &signerv1.CreateRequest{KeyId: "k"}); err != nil {
			t.Fatal(err)
		}
	}
	if sig, err := dropIn(ctx, p, "k", digest[:]); err != nil || len(sig) == 0 {
		t.Errorf("drop-in: %d bytes, %v", len(sig), err)
	}
	sign := &signerv1.SignStreamRequest{Request: &signerv1.SignStreamRequest_Sign{
		Sign: &signerv1.SignRequest{KeyId: "k", Digest: digest[:]},
	}}
	answers, err := stream(ctx, p, []*signerv1.SignStreamRequest{sign, sign, sign})
	if err != nil || len(answers) != 3 {
		t.Fatalf("stream: %d answers, %v", len(answers), err)
	}
	for _, a := range answers {
		if len(a.GetSign().GetSignature()) == 0 {
			t.Errorf("stream: no signature in %v", a)
		}
	}
	if answer, err := warmStreams(ctx, p, sign); err != nil || len(answer.GetSign().GetSignature()) == 0 {
		t.Errorf("warm streams: %v, %v", answer, err)
	}
	for _, id := range []string{"k1", "k2", "k3", "k4"} { // some in either enclave
		if sig, err := routed(ctx, p, id, digest[:]); err != nil || len(sig) == 0 {
			t.Errorf("routed: %d bytes, %v", len(sig), err)
		}
	}
}
