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
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// running is a program under test.
type running struct {
	ready string
	stop  context.CancelFunc
	code  chan int
}

// launch runs the program with the flags and waits for its line.
func launch(t *testing.T, args ...string) running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	out, in := io.Pipe()
	r := running{stop: cancel, code: make(chan int, 1)}
	var log bytes.Buffer
	go func() {
		code := run(ctx, args, in, &log)
		in.Close()
		r.code <- code
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("no line: %v\n%s", err, log.String())
	}
	r.ready = line
	return r
}

func TestEnclaveServesSwitchesFaultsAndStopsCleanly(t *testing.T) {
	dir := t.TempDir()
	sock, ctl := filepath.Join(dir, "e.sock"), filepath.Join(dir, "c.sock")
	r := launch(t, "-listen", "unix:"+sock, "-control", "unix:"+ctl, "-grace", "5s")
	if want := "enclave: ready on unix:" + sock + ", control on unix:" + ctl + "\n"; r.ready != want {
		t.Errorf("said %q, want %q", r.ready, want)
	}
	cc, err := grpc.NewClient("unix:"+sock, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	call := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_, err := signerv1.NewSignerServiceClient(cc).Create(ctx, &signerv1.CreateRequest{})
		return err
	}
	if err := call(); err != nil {
		t.Fatal(err)
	}

	tr := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", ctl)
	}}
	defer tr.CloseIdleConnections()
	res, err := (&http.Client{Transport: tr}).Post("http://enclave/faults", "application/json", strings.NewReader(`{"refuse_fraction":1}`))
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(res, err)
	}
	res.Body.Close()
	if err := call(); err == nil {
		t.Error("the fault had no effect")
	}

	r.stop()
	if code := <-r.code; code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, path := range []string{sock, ctl} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s was left behind (%v)", path, err)
		}
	}
}

func TestEnclaveNamesThePortItDrew(t *testing.T) {
	r := launch(t, "-listen", "127.0.0.1:0")
	if strings.Contains(r.ready, ":0\n") || !strings.Contains(r.ready, "127.0.0.1:") {
		t.Errorf("said %q", r.ready)
	}
	r.stop()
	<-r.code
}

func TestEnclaveRefusesBadFlagsWithExitCode2(t *testing.T) {
	for _, c := range []struct {
		args []string
		want []string
	}{
		{nil, []string{"-listen is missing"}},
		{[]string{"-grace", "-1s", "-stream-limit", "0", "-max-conn-age", "-1s", "extra"}, []string{"-listen", "-grace", "-stream-limit", "-max-conn-age", "extra"}},
		{[]string{"-listen", "unix:/x", "-sign", "loudly", "-max-concurrent-streams", "500"}, []string{"loudly", "echo", "max_concurrent_streams", "128"}},
		{[]string{"-listen", "unix:/x", "-stall-fraction", "7"}, []string{"stall-fraction", "0 to 1"}},
		{[]string{"-listen", "unix:/x", "-attest", "/nowhere/authority.pem"}, []string{"-attest", "/nowhere/authority.pem"}},
	} {
		var out, log bytes.Buffer
		if code := run(context.Background(), c.args, &out, &log); code != 2 {
			t.Errorf("%q: exit code %d", c.args, code)
		}
		for _, w := range c.want {
			if !strings.Contains(log.String(), w) {
				t.Errorf("%q: %q is not in %q", c.args, w, log.String())
			}
		}
	}
}

func TestEnclaveFailsWithExitCode1WhenItCannotListen(t *testing.T) {
	var out, log bytes.Buffer
	target := "unix:" + filepath.Join(t.TempDir(), "missing", "too", "e.sock")
	if code := run(context.Background(), []string{"-listen", target}, &out, &log); code != 1 || !strings.Contains(log.String(), target) {
		t.Errorf("exit code %d: %s", code, log.String())
	}
	if code := run(context.Background(), []string{"-help"}, &out, &log); code != 0 || !strings.Contains(out.String(), "-listen") {
		t.Errorf("-help: exit code %d, %q", code, out.String())
	}
}
