package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// server is an echo server in another process.
type server struct {
	target string // as both the pool and gRPC want it
	stop   func()

	in  io.Writer
	out *bufio.Reader
}

// startServer starts one that speaks gRPC.
func startServer(ctx context.Context) (*server, error) { return startRole(ctx, "server") }

// startRole returns when the server listens: on the path that is the role's
// last word. It ends with its standard input, so that it cannot outlive this
// process.
func startRole(ctx context.Context, words ...any) (*server, error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "s")
	cmd, err := asRole(ctx, append(words, path)...)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	in, inErr := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr, cmd.Start()); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	s := &server{target: "unix:" + path, in: in, out: bufio.NewReader(out)}
	s.stop = func() {
		in.Close()
		_, _ = io.Copy(io.Discard, out)
		_ = cmd.Wait() // how a server ends that is told to changes no number
		os.RemoveAll(dir)
	}
	if line, err := s.out.ReadString('\n'); err != nil {
		s.stop()
		return nil, fmt.Errorf("server process said %q: %w", line, err)
	}
	return s, nil
}

// cpuTime asks the server for the CPU time that it has used.
func (s *server) cpuTime() (time.Duration, error) {
	line, err := s.ask()
	if err != nil {
		return 0, err
	}
	ns, err := strconv.ParseInt(line, 10, 64)
	return time.Duration(ns), err
}

// ask returns what the server has to tell.
func (s *server) ask() (string, error) {
	if _, err := io.WriteString(s.in, "tell\n"); err != nil {
		return "", fmt.Errorf("ask the server process: %w", err)
	}
	line, err := s.out.ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("server process said %q: %w", line, err)
	}
	return strings.TrimSpace(line), nil
}
