package operations

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
)

// minBlocks is fewer than the runbook has; a test that finds none would pass.
const minBlocks = 35

func TestEveryCommandOfTheRunbookDoesWhatItSays(t *testing.T) {
	need(t, "bash", "curl", "grep", "sed")
	page, err := os.ReadFile(filepath.Join(docs, "runbook/conn-pool.md"))
	if err != nil {
		t.Fatal(err)
	}
	setup, scenarios := script(string(page))
	if !strings.Contains(setup, "metric()") {
		t.Fatalf("no block is marked \"sh setup\"")
	}
	blocks := 0
	for _, sc := range scenarios {
		if !slices.ContainsFunc(sc.steps, func(s step) bool { return s.code != "" }) {
			continue
		}
		for _, s := range sc.steps {
			if s.code != "" {
				blocks++
			}
		}
		t.Run(sc.title, func(t *testing.T) { play(t, functions(setup), sc) })
	}
	if blocks < minBlocks {
		t.Errorf("%d blocks, want %d or more", blocks, minBlocks)
	}
	t.Logf("%d blocks", blocks)
}

// play runs a scenario on a site of its own, whose size its first directives may give.
func play(t *testing.T, setup string, sc scenario) {
	conns, steps := 0, sc.steps
	var lines []string
	if i := slices.IndexFunc(steps, func(s step) bool { return s.directive != nil && s.directive[0] == "config" }); i >= 0 {
		lines = steps[i].directive[1:]
		steps = slices.Delete(slices.Clone(steps), i, i+1)
	}
	for _, l := range lines {
		if n, found := strings.CutPrefix(l, "SIGN_CONN_POOL_MIN="); found {
			conns, _ = strconv.Atoi(n)
		}
	}
	s := open(t, conns, lines...)
	for _, step := range steps {
		if step.directive != nil {
			s.do(t, step.directive)
			continue
		}
		s.run(t, setup, step)
	}
}

// targets puts the site's addresses in the place of those that the runbook speaks of.
func (s *site) targets(text string) string {
	return strings.NewReplacer("vsock:16:5000", s.Enclaves[0].Target, "vsock:17:5000", s.Enclaves[1].Target,
		"vsock:18:5000", s.moved.Target).Replace(text)
}

// run runs a block as somebody would who has done the setup.
func (s *site) run(t *testing.T, setup string, b step) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", setup+"\n"+s.targets(b.code))
	cmd.Env = append(os.Environ(), "GATEWAY=http://"+s.Gateway.HTTP, "CONFIG="+s.config,
		"LOG="+filepath.Join(s.dir, "gateway.log"), fmt.Sprint("PID=", s.Gateway.PID()), "LC_ALL=C.UTF-8")
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("line %d: %v\n%s\nprinted:\n%s", b.line, err, b.code, out)
	}
	if b.compared && !matches(s.targets(b.want), string(out)) {
		t.Errorf("line %d:\n%s\nprinted:\n%s\nand should:\n%s", b.line, b.code, out, b.want)
	}
}

// do carries out a directive, such as "kill a".
func (s *site) do(t *testing.T, words []string) {
	t.Helper()
	ctx := limited(t)
	arg := func(i int) string {
		if i >= len(words) {
			t.Fatalf("directive %q is too short", words)
		}
		return words[i]
	}
	enclave := func() *stack.Enclave {
		for _, e := range s.Enclaves {
			if e.ID == arg(1) {
				return e
			}
		}
		t.Fatalf("directive %q: no such enclave", words)
		return nil
	}
	var err error
	switch words[0] {
	case "kill":
		enclave().Kill()
	case "stop":
		err = enclave().Stop(ctx)
	case "start":
		err = enclave().Start(ctx)
	case "move":
		enclave().Kill()
		err = s.moved.Start(ctx)
	case "freeze":
		err = enclave().Freeze()
	case "thaw":
		err = enclave().Thaw()
	case "faults":
		err = enclave().SetFaults(ctx, arg(2))
	case "drop":
		var n int
		if n, err = strconv.Atoi(arg(2)); err == nil {
			_, err = enclave().Drop(ctx, n)
		}
	case "wait": // for what takes time by itself
		var d time.Duration
		if d, err = time.ParseDuration(arg(1)); err == nil {
			<-time.After(d)
		}
	case "load":
		var n int
		if n, err = strconv.Atoi(arg(2)); err == nil {
			s.load(t, arg(1), n)
		}
	default:
		t.Fatalf("no such directive: %q", words)
	}
	if err != nil {
		t.Fatalf("directive %q: %v", words, err)
	}
}

// load keeps n callers signing with a key of the enclave's until the test ends; what their calls come to is no matter.
func (s *site) load(t *testing.T, enclaveID string, n int) {
	t.Helper()
	ids := make([]string, 100)
	for i := range ids {
		ids[i] = fmt.Sprint("key-", i)
	}
	routes, err := s.Gateway.Routes(limited(t), ids)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(routes, func(r stack.Route) bool { return r.OwnerID == enclaveID })
	if i < 0 {
		t.Fatalf("none of %d keys belongs to %s", len(ids), enclaveID)
	}
	body := map[string]string{"key_id": routes[i].KeyID}
	if err := s.Gateway.Post(limited(t), "/v1/keys", body, &struct{}{}); err != nil {
		t.Fatal(err)
	}
	body["digest"] = strings.Repeat("0", 64)
	ctx, stop := context.WithCancel(context.Background())
	var callers sync.WaitGroup
	for range n {
		callers.Go(func() {
			for ctx.Err() == nil {
				_ = s.Gateway.Post(ctx, "/v1/sign", body, &struct{}{})
			}
		})
	}
	t.Cleanup(func() {
		stop()
		callers.Wait()
	})
}
