package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
)

// This program starts itself again for what has to be in a process of its own.
// The role is told by the environment, so that a test binary can play it too.
const roleVariable = "ENCLAVEPOOL_BENCH_ROLE"

// roles are given the words after their name.
var roles = map[string]func(words []string) error{
	"server": serve,
	"idle":   holdIdle,
}

// runRole plays the role that the environment names, to its end; false: none.
func runRole() bool {
	words := strings.Split(os.Getenv(roleVariable), " ")
	role, ok := roles[words[0]]
	if !ok {
		return false
	}
	if err := role(words[1:]); err != nil {
		fmt.Fprintf(os.Stderr, "bench: as %s: %v\n", words[0], err)
		os.Exit(1)
	}
	return true
}

// asRole returns a command that runs this program as role.
func asRole(ctx context.Context, words ...any) (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(),
		roleVariable+"="+strings.TrimSpace(fmt.Sprintln(words...)),
		"GOMAXPROCS="+strconv.Itoa(runtime.GOMAXPROCS(0)))
	cmd.Stderr = os.Stderr
	return cmd, nil
}

// server is an echo server in another process.
type server struct {
	target string // as both the pool and gRPC want it
	stop   func()
}

// startServer returns when the server listens. It ends with its standard
// input, so that it cannot outlive this process.
func startServer(ctx context.Context) (*server, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "s")
	cmd, err := asRole(ctx, "server", path)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	in, inErr := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr, cmd.Start()); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	stop := func() {
		in.Close()
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait() // how a server ends that is told to changes no number
		os.RemoveAll(dir)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		stop()
		return nil, fmt.Errorf("server process said %q: %w", line, err)
	}
	return &server{"unix:" + path, stop}, nil
}
