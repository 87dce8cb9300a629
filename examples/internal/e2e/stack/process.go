package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"
)

// outputGrace is how long output of an ended process is waited for, in case it has left somebody its pipe.
const outputGrace = time.Second

// Process is a running program, or one that has ended. It ends with this process where the system can do that (Linux),
// and is in a process group of its own, so that Ctrl-C in the terminal leaves the order of stopping to us.
type Process struct {
	name string
	log  string // the file with all it wrote
	cmd  *exec.Cmd
	said *firstLine
	done chan struct{}
	err  error // how it ended; set before done is closed
}

// Start runs a program, with env added to its environment, and waits for its first line on stdout. What it writes is
// added to the file log.
func Start(ctx context.Context, name, path, log string, env []string, args ...string) (*Process, error) {
	p, err := start(name, path, log, env, args...)
	if err != nil {
		return nil, err
	}
	if _, err := p.ready(ctx); err != nil {
		p.Kill()
		return nil, err
	}
	return p, nil
}

// start runs a program whose output is added to the file log.
func start(name, path, log string, env []string, args ...string) (*Process, error) {
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	p := &Process{name: name, log: log, said: &firstLine{to: file, line: make(chan string, 1)}, done: make(chan struct{})}
	p.cmd = exec.Command(path, args...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.said, file
	p.cmd.WaitDelay = outputGrace
	p.cmd.SysProcAttr = attributes()
	started := make(chan error)
	go func() {
		// The child is told to die with the thread that started it, so that thread has to stay ours.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.err = p.cmd.Wait()
		}
		file.Close()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

// ready waits for the first line on stdout, by which each of the programs says that it serves.
func (p *Process) ready(ctx context.Context) (string, error) {
	select {
	case line := <-p.said.line:
		return line, nil
	case <-p.done:
		return "", fmt.Errorf("%s ended before it was ready (%v); it said:\n%s", p.name, p.err, p.LogTail(10))
	case <-ctx.Done():
		return "", fmt.Errorf("%s is not ready: %w; it said:\n%s", p.name, ctx.Err(), p.LogTail(10))
	}
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Running reports whether the process has not ended.
func (p *Process) Running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Kill ends the process at once, as kill -9 does, and waits until it has ended.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // fails only when it has ended
	<-p.done
}

// Freeze stops the process where it is (SIGSTOP): its sockets stay open, and it answers nobody. It may go on for a
// moment after Freeze has returned.
func (p *Process) Freeze() error { return freeze(p.cmd.Process) }

// Thaw lets a frozen process go on (SIGCONT).
func (p *Process) Thaw() error { return thaw(p.cmd.Process) }

// Stop asks the process to end (SIGTERM) and waits for that; when ctx ends first it is killed. The error is nil when it
// ended with exit status 0.
func (p *Process) Stop(ctx context.Context) error {
	if err := terminate(p.cmd.Process); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.Kill()
		return fmt.Errorf("%s: %w", p.name, err)
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		p.Kill()
		return fmt.Errorf("%s had to be killed: %w", p.name, ctx.Err())
	}
	if p.err != nil {
		return fmt.Errorf("%s: %w; it said:\n%s", p.name, p.err, p.LogTail(10))
	}
	return nil
}

// Log is everything that the process and those of the same name before it have written.
func (p *Process) Log() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// LogTail is the last n lines of Log.
func (p *Process) LogTail(n int) string {
	lines := strings.Split(strings.TrimRight(p.Log(), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// firstLine passes on what it is given and hands out the first line of it.
type firstLine struct {
	to   *os.File
	line chan string

	mu   sync.Mutex
	head []byte
	over bool
}

func (f *firstLine) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.over {
		f.head = append(f.head, p...)
		if line, _, ok := bytes.Cut(f.head, []byte("\n")); ok {
			f.over = true
			f.line <- string(line)
			f.head = nil
		}
	}
	return f.to.Write(p)
}

// PID is the process's number, or was.
func (p *Process) PID() int { return p.cmd.Process.Pid }
