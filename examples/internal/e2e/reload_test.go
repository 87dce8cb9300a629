package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
)

// mounted is a file or folder that the gateway follows.
type mounted struct{ path string }

// mount makes a file that asks for fewConns, in a new folder, and a gateway that follows it.
func mount(t *testing.T, enclaves int) (*stack.Stack, mounted) {
	t.Helper()
	m := mounted{filepath.Join(folder(t), "pool.env")}
	m.set(t, sizes(fewConns)...)
	return launchWith(t, stack.Config{Enclaves: names(enclaves), Conns: fewConns, GatewayArgs: []string{"-config", m.path}}), m
}

// set replaces the file as a careful writer does: a reader sees the old content or the new.
func (m mounted) set(t *testing.T, lines ...string) {
	t.Helper()
	next := m.path + ".new"
	if err := os.WriteFile(next, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, m.path); err != nil {
		t.Fatal(err)
	}
}

func sizes(n int) []string {
	return []string{fmt.Sprint("SIGN_CONN_POOL_MIN=", n), fmt.Sprint("SIGN_CONN_POOL_MAX=", n)}
}

// awaitExactly waits until the gateway's active_conns for the enclave is n.
func awaitExactly(t *testing.T, st *stack.Stack, enclaveID string, n int) {
	t.Helper()
	eventually(t, "active_conns of "+enclaveID, func(context.Context) error {
		if now := metric(t, st, "active_conns", enclaveID); now != float64(n) {
			return fmt.Errorf("%v, want %d", now, n)
		}
		return nil
	})
}

// awaitLog waits until all words are in one line of what the gateway has logged after a mark, and returns the mark
// behind that line.
func awaitLog(t *testing.T, st *stack.Stack, mark int, words ...string) (next int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%q in the log", words), func(context.Context) error {
		at := mark
	lines:
		for line := range strings.Lines(st.Gateway.Log()[mark:]) {
			at += len(line)
			for _, w := range words {
				if !strings.Contains(line, w) {
					continue lines
				}
			}
			next = at
			return nil
		}
		return fmt.Errorf("the log has no such line")
	})
	return next
}

// inEffect is whether /metrics says that the configuration is in effect.
func inEffect(t *testing.T, st *stack.Stack) bool {
	t.Helper()
	return metric(t, st, "gateway_config_in_effect", "") == 1
}

func TestTheMountedFileIsFollowedUnderLoadAndNoCallFails(t *testing.T) {
	inBothTransports(t, func(t *testing.T, args []string) {
		m := mounted{filepath.Join(folder(t), "pool.env")}
		m.set(t)
		st := launchWith(t, stack.Config{Enclaves: names(1), GatewayArgs: append(args, "-config", m.path)})
		awaitExactly(t, st, "a", stack.Conns) // no more than that without load
		c := dial(t, st)
		load := drive(t, c, create(t, c, "k"), 8)
		mark := 0
		for _, n := range []int{24, 8} {
			load.await(t, 50, false)
			m.set(t, sizes(n)...)
			awaitExactly(t, st, "a", n)
			load.await(t, 50, false)
			mark = awaitLog(t, st, mark, "configuration updated", "MinConns: ", fmt.Sprintf("→ %d", n))
			mark = awaitLog(t, st, mark, "configuration applied", "file changed")
		}
		load.stop()
		load.none(t, "16, 24, then 8 connections")
	})
}

func TestTheLinkThatKubernetesExchangesIsFollowed(t *testing.T) {
	// As kubelet does it: a folder for each generation, ..data leads to it, and the files lead through that.
	dir := folder(t)
	generation := func(n int, values map[string]string) {
		t.Helper()
		name := fmt.Sprintf("..2026_11_24_%02d", n)
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		for k, v := range values {
			if err := os.WriteFile(filepath.Join(dir, name, k), []byte(v), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(filepath.Join("..data", k), filepath.Join(dir, k)); err != nil && !os.IsExist(err) {
				t.Fatal(err)
			}
		}
		next := filepath.Join(dir, "..data_tmp")
		if err := os.Symlink(name, next); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	of := func(n int) map[string]string {
		return map[string]string{"SIGN_CONN_POOL_MIN": fmt.Sprint(n), "SIGN_CONN_POOL_MAX": fmt.Sprint(n)}
	}
	generation(1, of(fewConns))
	st := launchWith(t, stack.Config{Enclaves: names(1), Conns: fewConns, GatewayArgs: []string{"-config", dir}})
	c := dial(t, st)
	load := drive(t, c, create(t, c, "k"), 3)
	generation(2, of(9))
	awaitExactly(t, st, "a", 9)
	generation(3, of(2))
	awaitExactly(t, st, "a", 2)
	load.await(t, 20, false)
	load.stop()
	load.none(t, "while the link was exchanged")
}

func TestHangupAppliesTheFileAgainAndEndsNothing(t *testing.T) {
	st, m := mount(t, 1)
	hangup := func(mark int) int {
		t.Helper()
		if err := st.Gateway.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		return awaitLog(t, st, mark, "configuration applied", "trigger=hangup")
	}
	mark := hangup(awaitLog(t, st, 0, "configuration applied", "trigger=start"))
	m.set(t, sizes(6)...)
	hangup(mark)
	awaitExactly(t, st, "a", 6)

	// Without a file there is nothing to follow, and the signal is no reason to die.
	bare := launchWith(t, stack.Config{Enclaves: names(1), Conns: fewConns})
	if err := bare.Gateway.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	awaitLog(t, bare, 0, "configuration applied", "trigger=hangup")
	awaitExactly(t, bare, "a", fewConns)
}

func TestABadFileUnderLoadChangesNothingAndTheGatewaySaysWhy(t *testing.T) {
	good := sizes(fewConns)
	st, m := mount(t, 2)
	c := dial(t, st)
	load := drive(t, c, create(t, c, "k"), 3)
	mark := awaitLog(t, st, 0, "configuration applied", "trigger=start")
	if !inEffect(t, st) {
		t.Error("gateway_config_in_effect is 0 at the start")
	}
	for _, bad := range []struct{ line, want string }{
		{"SIGN_CONN_POOL_MXA=48", "a name that is known; the nearest is SIGN_CONN_POOL_MAX"},
		{"SIGN_CONN_POOL_ACQUIRE_TIMEOUT=5", "a duration with its unit"},
		{"SIGN_CONN_POOL_KEEPALIVE_TIME=5s", "at least 10s"},
		{"SIGNER_ENCLAVES=a=nowhere", "SIGNER_ENCLAVES enclave"},
		{"what is this", "NAME=value"},
	} {
		m.set(t, append([]string{"SIGN_CONN_POOL_MIN=1", "SIGN_CONN_POOL_MAX=2"}, bad.line)...)
		mark = awaitLog(t, st, mark, "configuration rejected, nothing changed", bad.want, m.path)
		if inEffect(t, st) {
			t.Errorf("%s: gateway_config_in_effect is 1", bad.line)
		}
		for _, id := range []string{"a", "b"} {
			awaitExactly(t, st, id, fewConns) // at once, unless a slow machine is replacing some
		}
	}
	if log := st.Gateway.Log(); strings.Contains(log, "what is this") {
		t.Error("a line that nobody understands is in the log")
	}
	if err := os.Remove(m.path); err != nil {
		t.Fatal(err)
	}
	mark = awaitLog(t, st, mark, "configuration cannot be read, nothing changed")
	m.set(t, good...)
	awaitLog(t, st, mark, "configuration applied", "file changed")
	if !inEffect(t, st) {
		t.Error("gateway_config_in_effect is 0 after the file was put right")
	}
	load.await(t, 20, false)
	load.stop()
	load.none(t, "while the file was bad")
}

// enclaveList is the value of SIGNER_ENCLAVES.
func enclaveList(all ...*stack.Enclave) string {
	var parts []string
	for _, e := range all {
		parts = append(parts, e.ID+"="+e.Target)
	}
	return "SIGNER_ENCLAVES=" + strings.Join(parts, ",")
}

func TestAnEnclaveIsAddedAndOneRemovedByTheFile(t *testing.T) {
	inBothTransports(t, func(t *testing.T, args []string) {
		m := mounted{filepath.Join(folder(t), "pool.env")}
		m.set(t)
		st := launchWith(t, stack.Config{Enclaves: names(3), Conns: fewConns, GatewayArgs: append(args, "-config", m.path)})
		a, b, extra := st.Enclaves[0], st.Enclaves[1], st.Enclaves[2]
		c := dial(t, st)
		keyA, keyB := keyOn(t, st, c, "a"), keyOn(t, st, c, "b") // theirs whichever of the others are there
		m.set(t, enclaveList(a, b))
		gone := func(id string) func(context.Context) error {
			return func(ctx context.Context) error {
				all, err := st.Gateway.Metrics(ctx)
				if err == nil && all.ActiveConns(id) >= 0 {
					err = fmt.Errorf("active_conns is still there")
				}
				return err
			}
		}
		eventually(t, "c, which the environment has and the file has not", gone("c"))
		onA := drive(t, c, keyA, 3)

		// b is removed while it is busy with what it was asked for.
		if err := b.SetFaults(limited(t), `{"delay":"8s"}`); err != nil {
			t.Fatal(err)
		}
		before, err := b.Stats(limited(t))
		if err != nil {
			t.Fatal(err)
		}
		const inFlight = 4
		answers := make(chan error, inFlight)
		ctx := limited(t)
		for i := range inFlight {
			go func() { answers <- sign(ctx, c, keyB, digest(byte(i))) }()
		}
		eventually(t, "calls in flight on b", func(ctx context.Context) error {
			now, err := b.Stats(ctx)
			if err == nil && asked(now)-asked(before) < inFlight {
				err = fmt.Errorf("%d", asked(now)-asked(before))
			}
			return err
		})
		m.set(t, enclaveList(a, extra))
		eventually(t, "b, which was removed", gone("b"))
		if len(answers) > 0 {
			t.Error("calls to b ended before it was removed, so nothing is shown")
		}
		awaitConns(t, st, "c", fewConns)
		keyOn(t, st, c, "c") // keys are routed to the one that was added

		// Its key belongs to another now, which does not have it: what was asked of b before is answered by b.
		for range inFlight {
			if err := <-answers; err != nil {
				t.Errorf("in flight on the enclave that was removed: %v", err)
			}
		}
		eventually(t, "b's connections are closed", func(ctx context.Context) error {
			now, err := b.Stats(ctx)
			if err == nil && now.ConnectionsOpen != 0 {
				err = fmt.Errorf("%d are open", now.ConnectionsOpen)
			}
			return err
		})
		onA.await(t, 20, false)
		onA.stop()
		onA.none(t, "a, which stayed")
		awaitLog(t, st, 0, "configuration updated", "enclave b removed", "enclave c added")
	})
}

func TestShortConnectionsWorkFromTheStartAndByReload(t *testing.T) {
	short := append(sizes(1), "SIGN_CONN_POOL_KEEPALIVE_TIME=0s")
	st, m := mount(t, 1)
	c := dial(t, st)
	key := create(t, c, "k")
	load := drive(t, c, key, 4)
	load.await(t, 20, false)
	m.set(t, short...)
	oneConn := func(st *stack.Stack) {
		t.Helper()
		awaitExactly(t, st, "a", 1)
		eventually(t, "one connection at the enclave", func(ctx context.Context) error {
			now, err := st.Enclaves[0].Stats(ctx)
			if err == nil && now.ConnectionsOpen != 1 {
				err = fmt.Errorf("%d are open", now.ConnectionsOpen)
			}
			return err
		})
	}
	oneConn(st)
	awaitLog(t, st, 0, "configuration updated", "MinConns: ", "→ 1", "Keepalive.Time: 30s → 0s")
	load.await(t, 20, false)
	m.set(t, sizes(fewConns)...)
	awaitExactly(t, st, "a", fewConns)
	load.await(t, 20, false)
	load.stop()
	load.none(t, "to short connections and back")

	t.Run("start", func(t *testing.T) {
		st := launchWith(t, stack.Config{Enclaves: names(1), Conns: 1, GatewayEnv: []string{"SIGN_CONN_POOL_KEEPALIVE_TIME=off"}})
		c := dial(t, st)
		key := create(t, c, "k")
		load := drive(t, c, key, 4)
		load.await(t, 50, false)
		oneConn(st)
		st.Enclaves[0].Kill()
		awaitConns(t, st, "a", 0)
		load.stop()
		load.mu.Lock()
		load.failures = nil // those of the kill
		load.mu.Unlock()
		if err := st.Enclaves[0].Start(limited(t)); err != nil {
			t.Fatal(err)
		}
		oneConn(st)
		again := drive(t, c, create(t, c, "k"), 4)
		again.await(t, 20, false)
		again.stop()
		again.none(t, "over one connection")
	})
}
