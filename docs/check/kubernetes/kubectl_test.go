package kubernetes

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/enclavepool/enclavepool/docs/check/internal/tool"
	"github.com/enclavepool/enclavepool/pool/envconfig"
)

// kubectl runs it against the server, and returns what it prints; the error has what it complains of.
func kubectl(t *testing.T, s *apiServer, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, tool.Path(t, "kubectl"), append(args, "--server="+s.URL, "--cache-dir="+t.TempDir())...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(t.TempDir(), "none"), "HOME="+t.TempDir())
	cmd.Dir = tool.Root
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, complaint.String())
	}
	return string(out), err
}

func TestKubectlWouldCreateEverything(t *testing.T) {
	s := serve(t, load(t))
	s.empty()
	out, err := kubectl(t, s, "apply", "-k", "docs/deploy/kubernetes", "--dry-run=client", "--validate=false")
	if n := strings.Count(out, "created (dry run)"); err != nil || n != len(groups) {
		t.Errorf("%d objects of %d: %v\n%s", n, len(groups), err, out)
	}
}

// commands are the lines of the runbook's blocks that are marked "sh kubectl".
func commands(t *testing.T) (all []string) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(tool.Root, "docs/runbook/conn-pool.md"))
	if err != nil {
		t.Fatal(err)
	}
	inside := false
	for line := range strings.Lines(string(page)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```sh kubectl"
		case inside:
			all = append(all, line)
		}
	}
	return all
}

func TestTheRunbooksKubectlCommandsFindWhatTheySpeakOf(t *testing.T) {
	m := load(t)
	all := commands(t)
	if len(all) < 8 {
		t.Errorf("%d commands: %q", len(all), all)
	}
	for _, line := range all {
		t.Run(line, func(t *testing.T) {
			args := words(line)
			if args[0] != "kubectl" {
				t.Fatal("this test knows kubectl alone")
			}
			s := serve(t, m)
			switch args[1] {
			case "patch":
				checkPatch(t, s, m.config, args)
			case "rollout", "get":
				if out, err := kubectl(t, s, args[1:]...); err != nil || out == "" {
					t.Errorf("%v\n%s", err, out)
				}
				if args[2] == "restart" && !s.saw("PATCH /apis/apps/v1/namespaces/default/deployments/signer-gateway") {
					t.Error("it restarts nothing")
				}
			case "port-forward":
				// The server cannot carry the bytes; it is enough that the right pod is asked for them.
				out, err := kubectl(t, s, append(slices.Clone(args[1:3]), ":8080")...)
				if err == nil || !s.saw("pods/signer-gateway-0/portforward") {
					t.Errorf("it asks no pod: %v\n%s", err, out)
				}
			default:
				t.Fatalf("this test does not know kubectl %s", args[1])
			}
		})
	}
}

// checkPatch makes the change without keeping it: the settings have to be valid together with the others.
func checkPatch(t *testing.T, s *apiServer, before *corev1.ConfigMap, args []string) {
	t.Helper()
	out, err := kubectl(t, s, append(args[1:], "--dry-run=client", "-o", "json")...)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var after corev1.ConfigMap
	if err := json.Unmarshal([]byte(out), &after); err != nil {
		t.Fatal(err)
	}
	cfg, err := envconfig.Load(nil, mount(t, &after, nil))
	if err != nil {
		t.Error(err)
	}
	if len(after.Data) < len(before.Data) || len(cfg.Enclaves) == 0 {
		t.Errorf("settings are lost: %v", after.Data)
	}
}

// words splits a line as a shell does that sees nothing but words and single quotes.
func words(line string) (all []string) {
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			all = append(all, part)
		} else {
			all = append(all, strings.Fields(part)...)
		}
	}
	return all
}
