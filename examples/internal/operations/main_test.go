package operations

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack/testmain"
)

// patience is for everything that has to happen, on the slowest of machines.
const patience = time.Minute

// docs is the folder of documents.
const docs = "../../../docs"

var programs stack.Programs

func TestMain(m *testing.M) { os.Exit(testmain.Run(m, &programs, nil, "enclave", "gateway")) }

// limited is a context that ends with the test, or when patience does.
func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// site is a gateway that follows a file, and its enclaves a and b.
type site struct {
	*stack.Stack
	dir, config string
	moved       *stack.Enclave // a, somewhere else
}

// open starts a site whose file has the given lines, beside the enclaves; conns as in stack.Config.
func open(t *testing.T, conns int, lines ...string) *site {
	t.Helper()
	dir, err := os.MkdirTemp("", "ops-") // t.TempDir's path is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	elsewhere := filepath.Join(dir, "m")
	if err := os.Mkdir(elsewhere, 0o700); err != nil {
		t.Fatal(err)
	}
	s := &site{dir: dir, config: filepath.Join(dir, "pool.env")}
	list := "SIGNER_ENCLAVES=a=" + stack.Unix.Address(dir, "a") + ",b=" + stack.Unix.Address(dir, "b")
	if err := os.WriteFile(s.config, []byte(strings.Join(append([]string{list}, lines...), "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.moved = stack.NewEnclave(programs["enclave"], elsewhere, "a", stack.Unix)
	s.Stack, err = stack.Launch(limited(t), stack.Config{Programs: programs, Dir: dir, Transport: stack.Unix,
		Enclaves: []string{"a", "b"}, Conns: conns, GatewayArgs: []string{"-config", s.config},
		// So that what waits for a processor for a moment is not called frozen, of which the log would speak.
		GatewayEnv: []string{"SIGN_CONN_POOL_HEALTH_TIMEOUT=500ms", "SIGN_CONN_POOL_DIAL_TIMEOUT=5s"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(limited(t)); err != nil {
			t.Errorf("stopping: %v", err)
		}
		if s.moved.Process != nil {
			s.moved.Kill()
		}
		if t.Failed() {
			t.Logf("the gateway said:\n%s", s.Gateway.LogTail(30))
		}
	})
	return s
}

// need fails, or skips where nothing says that tools are required, when a program is missing.
func need(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("CI") != "" || os.Getenv("ENCLAVEPOOL_TOOLS") == "required" {
				t.Fatalf("%s is missing; get it with: scripts/tools.sh", name)
			}
			t.Skipf("%s is missing; get it with: scripts/tools.sh", name)
		}
	}
}
