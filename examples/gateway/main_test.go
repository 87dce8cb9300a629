package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/enclavepool/enclavepool/examples/internal/enclave"
	"github.com/enclavepool/enclavepool/examples/internal/gateway"
	"github.com/enclavepool/enclavepool/examples/signer"
	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
	"github.com/enclavepool/enclavepool/pool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	envMinConns = "SIGN_CONN_POOL_MIN"
	envMaxConns = "SIGN_CONN_POOL_MAX"
	envHealth   = "SIGN_CONN_POOL_HEALTH_TIMEOUT"
)

// env makes an environment of names and values.
func env(pairs ...string) (environ []string) {
	for i := 0; i < len(pairs); i += 2 {
		environ = append(environ, pairs[i]+"="+pairs[i+1])
	}
	return environ
}

func TestGatewayServesBothSidesAndStopsCleanly(t *testing.T) {
	dir := t.TempDir()
	target := "unix:" + filepath.Join(dir, "e")
	e, err := enclave.New(enclave.Options{})
	if err != nil {
		t.Fatal(err)
	}
	lis, err := enclave.Listen(target)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- e.Serve(lis) }()
	defer func() {
		e.Close()
		<-served
	}()

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	out, in := io.Pipe()
	code := make(chan int, 1)
	var log bytes.Buffer
	grpcPath, httpPath, debugPath := filepath.Join(dir, "g"), filepath.Join(dir, "h"), filepath.Join(dir, "d")
	go func() {
		defer in.Close()
		code <- run(ctx, []string{"-listen", "unix:" + grpcPath, "-http", "unix:" + httpPath, "-debug", "unix:" + debugPath, "-drain-timeout", "5s",
			"-directory", "bolt:" + filepath.Join(dir, "places.db")},
			env(envEnclaves, "a="+target, envMinConns, "2", envMaxConns, "3"), in, &log)
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if want := "gateway: gRPC on unix:" + grpcPath + ", HTTP on unix:" + httpPath + ", debug on unix:" + debugPath + "\n"; line != want {
		t.Fatalf("said %q, %v, want %q; log:\n%s", line, err, want, log.String())
	}

	cc, err := grpc.NewClient("unix:"+grpcPath, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	call, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	client := signerv1.NewSignerServiceClient(cc)
	key, err := client.Create(call, &signerv1.CreateRequest{})
	if err != nil {
		t.Fatal(err)
	}
	digest := bytes.Repeat([]byte{1}, signer.DigestSize)
	sig, err := client.Sign(call, &signerv1.SignRequest{KeyId: key.GetKeyId(), Digest: digest})
	if err != nil {
		t.Fatal(err)
	}
	if err := signer.Verify(sig.GetAlgorithm(), key.GetPublicKey(), digest, sig.GetSignature()); err != nil {
		t.Error(err)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", map[string]string{"gateway:80": httpPath, "debug:80": debugPath}[address])
	}}
	defer transport.CloseIdleConnections()
	for url, want := range map[string]int{
		"http://gateway/healthz": 200, "http://gateway/debug/pool": 404, "http://debug/debug/pool": 200, "http://debug/debug/pool?data": 200,
		"http://debug/healthz": 404,
	} {
		res, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Get(url)
		if err != nil || res.StatusCode != want {
			t.Fatal(url, res, err)
		}
		res.Body.Close()
	}

	stop()
	if c := <-code; c != 0 {
		t.Errorf("exit code %d; log:\n%s", c, log.String())
	}
	for _, path := range []string{grpcPath, httpPath, debugPath} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s was left behind (%v)", path, err)
		}
	}
}

func TestBadSettingsAreAllReportedWithNameValueAndWhatIsValid(t *testing.T) {
	var out, log bytes.Buffer
	code := run(context.Background(), []string{"-listen", "nowhere", "-http", "host:99999", "-log-level", "loud",
		"-drain-timeout", "-3s", "-transport", "pigeon", "-routing", "spill:none", "-debug", "6060", "extra"},
		env(envEnclaves, "a=vsock:2:5000,b,a=unix:/run/b.sock,c d=unix:/c", envMinConns, "many", envMaxConns, "few",
			envHealth, "0s", "SIGN_CONN_POOL_MXA", "3"), &out, &log)
	if code != 2 || out.Len() != 0 {
		t.Errorf("exit code %d, said %q", code, out.String())
	}
	for _, want := range []string{
		`-listen: "nowhere" is not valid: want host:port or unix:/path`,
		`-http: "host:99999" is not valid`,
		`-log-level: "loud" is not valid: want debug, info, warn or error`,
		`-drain-timeout: "-3s" is not valid`,
		`-transport: "pigeon" is not valid: want stream or unary`,
		`-routing: "spill:none" is not valid: want strict, spill or spill:n, or placed`,
		`-debug: "6060" is not valid: want host:port or unix:/path`,
		`arguments: "extra" is not valid: want none`,
		`SIGN_CONN_POOL_MIN is "many" (environment), want a whole number`,
		`SIGN_CONN_POOL_MAX is "few" (environment), want a whole number`,
		`SIGN_CONN_POOL_HEALTH_TIMEOUT is "0s" (environment), want at least 1ms`,
		`SIGN_CONN_POOL_MXA is "3" (environment), want a name that is known; the nearest is SIGN_CONN_POOL_MAX`,
		`SIGNER_ENCLAVES entry 2 is "b" (environment), want ID=target`,
		`SIGNER_ENCLAVES enclave "a" target is "vsock:2:5000" (environment), want`,
		`SIGNER_ENCLAVES enclave "a" ID is "a" (environment), want an ID that no other enclave has`,
		`SIGNER_ENCLAVES enclave "c d" ID is "c d" (environment), want`,
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%s is not in\n%s", want, log.String())
		}
	}
	if strings.Contains(log.String(), "DialTimeout") || strings.Contains(log.String(), "Enclaves[") {
		t.Errorf("it complains of what the user never wrote:\n%s", log.String())
	}
}

func TestEnclavesHaveToBeNamedOnce(t *testing.T) {
	var out, log bytes.Buffer
	if code := run(context.Background(), nil, env(), &out, &log); code != 2 || strings.Count(log.String(), "\n") != 1 ||
		!strings.Contains(log.String(), envEnclaves) {
		t.Errorf("exit code %d: %s", code, log.String())
	}
	log.Reset()
	if code := run(context.Background(), []string{"-enclaves", "a"}, env(envEnclaves, "a=unix:/a"), &out, &log); code != 2 ||
		!strings.Contains(log.String(), `-enclaves entry 1 is "a", want ID=target`) {
		t.Errorf("exit code %d: %s", code, log.String())
	}
}

func TestTheFileWinsOverTheFlagAndTheFlagOverTheEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pool.env")
	targetOf := func(content string, args ...string) string {
		t.Helper()
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := parse(append(args, "-config", file), env(envEnclaves, "e=unix:/environment", envMinConns, "4"), io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.Count(content, "24") * 24; want > 0 && s.pool.MinConns != want || want == 0 && s.pool.MinConns != 4 {
			t.Errorf("%q: %d connections", content, s.pool.MinConns)
		}
		return s.pool.Enclaves[0].Target
	}
	if got := targetOf(""); got != "unix:/environment" {
		t.Error(got)
	}
	if got := targetOf("", "-enclaves", "e=unix:/flag"); got != "unix:/flag" {
		t.Error(got)
	}
	if got := targetOf("SIGN_CONN_POOL_MIN=24\nSIGNER_ENCLAVES=e=unix:/file\n", "-enclaves", "e=unix:/flag"); got != "unix:/file" {
		t.Error(got)
	}
	var out, log bytes.Buffer
	bad := filepath.Join(t.TempDir(), "missing")
	code := run(context.Background(), []string{"-config", bad, "-routing", "no"}, env(), &out, &log)
	if code != 2 || !strings.Contains(log.String(), "-config: ") || !strings.Contains(log.String(), bad) ||
		!strings.Contains(log.String(), "-routing: ") {
		t.Errorf("exit code %d: %s", code, log.String())
	}
}

// docs/config/enclave-config.md is held to the code by the tests of pool/envconfig.
func TestTheHelpNamesEveryVariable(t *testing.T) {
	doc, err := os.ReadFile("../../docs/config/enclave-config.md")
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile("(?m)^\\| `SIGN_CONN_POOL(_[A-Z_]+)`").FindAllSubmatch(doc, -1)
	if len(names) < 20 {
		t.Fatalf("%d variables found", len(names))
	}
	said := strings.Fields(help)
	for _, n := range names {
		if !slices.Contains(said, string(n[1])) {
			t.Errorf("the help does not name SIGN_CONN_POOL%s", n[1])
		}
	}
	if !slices.Contains(said, "docs/config/enclave-config.md") {
		t.Error("the help does not say where they are described")
	}
}

func TestDefaultsAreThePools(t *testing.T) {
	s, err := parse(nil, env(envEnclaves, "a=vsock:16:5000"), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	want := pool.DefaultConfig()
	if s.pool.MinConns != want.MinConns || s.pool.MaxConns != want.MaxConns || s.pool.DialTimeout != want.DialTimeout ||
		s.listen != "127.0.0.1:9090" || s.http != "127.0.0.1:8080" || s.drainTimeout != 10*time.Second ||
		s.transport != gateway.Stream || s.selector == nil || s.debug != "" ||
		s.directory == nil || s.directory.File != "gateway-placements.db" || s.cache != gateway.DefaultDirectoryCache {
		t.Errorf("%+v", s)
	}
	s, err = parse(nil, env(envEnclaves, "a=vsock:16:5000", envMinConns, "1", envMaxConns, "1", envHealth, "3s"), io.Discard)
	if err != nil || s.pool.MinConns != 1 || s.pool.Health.Timeout != 3*time.Second || s.pool.MaxConns != 1 {
		t.Errorf("%+v, %v", s.pool, err)
	}
}

func TestGatewayFailsWithExitCode1WhenItCannotListen(t *testing.T) {
	var out, log bytes.Buffer
	dir := t.TempDir()
	for _, args := range [][]string{
		{"-listen", "unix:" + filepath.Join(dir, "missing", "s")},
		{"-listen", "unix:" + filepath.Join(dir, "s"), "-http", "unix:" + filepath.Join(dir, "missing", "s")},
		{"-listen", "unix:" + filepath.Join(dir, "s"), "-http", "unix:" + filepath.Join(dir, "h"), "-debug", "unix:" + filepath.Join(dir, "missing", "s")},
	} {
		if code := run(context.Background(), args, env(envEnclaves, "a=unix:/a", envDirectory, "memory"), &out, &log); code != 1 || !strings.Contains(log.String(), "missing") {
			t.Errorf("exit code %d: %s", code, log.String())
		}
	}
	if code := run(context.Background(), []string{"-help"}, env(), &out, &log); code != 0 || !strings.Contains(out.String(), envEnclaves) || !strings.Contains(out.String(), "-drain-timeout") {
		t.Errorf("-help: exit code %d, %q", code, out.String())
	}
}
