package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
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
	"raw":    serveRaw,
	"idle":   holdIdle,

	"enclaves": serveEnclaves,
	"gateway":  holdMany,
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
