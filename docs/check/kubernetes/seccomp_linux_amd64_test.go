package kubernetes

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	seccomp "github.com/elastic/go-seccomp-bpf"
)

// confineEnv has a profile as JSON: this process is to confine itself with it and become the program in its arguments.
const confineEnv = "ENCLAVEPOOL_TEST_SECCOMP"

// profile is a seccomp profile as container runtimes read it.
type profile struct {
	DefaultAction   string   `json:"defaultAction"`
	DefaultErrnoRet int      `json:"defaultErrnoRet"`
	Architectures   []string `json:"architectures"`
	Syscalls        []allow  `json:"syscalls"`
}

type allow struct {
	Comment string   `json:"comment,omitempty"`
	Names   []string `json:"names"`
	Action  string   `json:"action"`
	Args    []struct {
		Index uint32 `json:"index"`
		Value uint64 `json:"value"`
		Op    string `json:"op"`
	} `json:"args,omitempty"`
}

// confined confines the process and turns it into the program, if the environment says so.
func confined() {
	text := os.Getenv(confineEnv)
	if text == "" {
		return
	}
	os.Unsetenv(confineEnv)
	var p profile
	err := json.Unmarshal([]byte(text), &p)
	if err == nil {
		err = seccomp.LoadFilter(seccomp.Filter{NoNewPrivs: true, Flag: seccomp.FilterFlagTSync, Policy: p.policy()})
	}
	if err == nil {
		err = syscall.Exec(os.Args[1], os.Args[1:], os.Environ())
	}
	fmt.Fprintln(os.Stderr, "confining:", err)
	os.Exit(1)
}

func (p profile) policy() seccomp.Policy {
	group := seccomp.SyscallGroup{Action: seccomp.ActionAllow} // one, or its rules for a name would not add up
	for _, rule := range p.Syscalls {
		for _, name := range rule.Names {
			if len(rule.Args) == 0 {
				group.Names = append(group.Names, name)
				continue
			}
			var conditions seccomp.ArgumentConditions
			for _, a := range rule.Args {
				conditions = append(conditions, seccomp.Condition{Argument: a.Index, Operation: seccomp.Equal, Value: a.Value})
			}
			group.NamesWithCondtions = append(group.NamesWithCondtions, seccomp.NameWithConditions{Name: name, Conditions: conditions})
		}
	}
	return seccomp.Policy{DefaultAction: seccomp.ActionErrno, Syscalls: []seccomp.SyscallGroup{group}}
}

// denied is what the runbook says that the log says.
func denied(t *testing.T) string {
	t.Helper()
	for line := range strings.Lines(string(readFile(t, "../../../docs/runbook/conn-pool.md"))) {
		if strings.HasPrefix(line, "dial vsock:16:5000: ") {
			return strings.TrimSpace(line)
		}
	}
	t.Fatal("the runbook does not show how a denial is logged")
	return ""
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The real gateway runs under the profile, works over a unix socket, and is allowed AF_VSOCK; with the profile's line for
// AF_VSOCK taken out it says what the runbook shows.
func TestTheGatewayRunsUnderTheSeccompProfile(t *testing.T) {
	var p profile
	if err := json.Unmarshal(read(t, "seccomp-vsock.json"), &p); err != nil {
		t.Fatal(err)
	}
	if p.DefaultAction != "SCMP_ACT_ERRNO" || p.DefaultErrnoRet != int(syscall.EPERM) || len(p.Architectures) == 0 {
		t.Errorf("by default it does %s %d, on %v", p.DefaultAction, p.DefaultErrnoRet, p.Architectures)
	}
	without := p
	without.Syscalls = nil
	for _, rule := range p.Syscalls {
		if rule.Action != "SCMP_ACT_ALLOW" || len(rule.Args) > 0 && rule.Args[0].Op != "SCMP_CMP_EQ" {
			t.Fatalf("this test does not understand the rule %+v", rule)
		}
		if len(rule.Args) == 0 || rule.Args[0].Value != 40 {
			without.Syscalls = append(without.Syscalls, rule)
		}
	}
	if len(without.Syscalls) != len(p.Syscalls)-1 {
		t.Fatal("it has not one line for AF_VSOCK")
	}
	dir := programs(t)
	socket := filepath.Join(dir, "b")
	start(t, filepath.Join(dir, "enclave.log"), exec.Command(filepath.Join(dir, "enclave"), "-listen", "unix:"+socket))
	for _, tt := range []struct {
		name    string
		profile profile
		denied  bool
	}{{"with AF_VSOCK", p, false}, {"without", without, true}} {
		text, err := json.Marshal(tt.profile)
		if err != nil {
			t.Fatal(err)
		}
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		log := filepath.Join(t.TempDir(), "gateway.log")
		cmd := exec.Command(self, filepath.Join(dir, "gateway"), "-listen=127.0.0.1:0", "-http=127.0.0.1:0", "-log-level=debug",
			"-directory=bolt:"+filepath.Join(t.TempDir(), "places.db"))
		cmd.Env = append(os.Environ(), confineEnv+"="+string(text), "SIGNER_ENCLAVES=a=vsock:16:5000,b=unix:"+socket)
		start(t, log, cmd)
		said, deadline := "", time.Now().Add(20*time.Second)
		for {
			said = string(readFile(t, log))
			tried := strings.Contains(said, "dial vsock:16:5000")
			if tried && strings.Contains(said, `msg="enclave connected" enclave_id=b`) || time.Now().After(deadline) {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		if !strings.Contains(said, `msg="enclave connected" enclave_id=b`) {
			t.Errorf("%s: it does not work:\n%s", tt.name, said)
		}
		if got := strings.Contains(said, denied(t)); got != tt.denied {
			t.Errorf("%s: AF_VSOCK denied in the runbook's words: %v, want %v:\n%s", tt.name, got, tt.denied, said)
		}
	}
}
