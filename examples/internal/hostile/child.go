package hostile

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/enclave"
)

// ChildEnv is the environment variable that makes this program, started anew, an enclave. A program that finds it set
// calls Child and nothing else.
const ChildEnv = "ENCLAVEPOOL_HOSTILE_CHILD"

// healthy names the enclave that is not hostile.
const healthy = "healthy"

// Child is an enclave until stdin ends, which it does with the process that started it. It says "ready" first.
func Child(stdin io.Reader, stdout io.Writer) error {
	name, path, _ := strings.Cut(os.Getenv(ChildEnv), "|")
	go func() {
		_, _ = io.Copy(io.Discard, stdin) // however it ends
		os.Exit(0)
	}()
	lis, err := enclave.Listen("unix:" + path)
	if err != nil {
		return err
	}
	if name == healthy {
		s, err := enclave.New(enclave.Options{Sign: enclave.SignEcho})
		if err != nil {
			return err
		}
		fmt.Fprintln(stdout, "ready")
		return s.Serve(lis)
	}
	a, err := find(name)
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, "ready")
	return accept(lis, a)
}

// accept serves an attack on a listener until that is closed.
func accept(lis net.Listener, a attack) error {
	for {
		c, err := lis.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		go serve(c, a)
	}
}

// Speak serves an enclave, until the listener is closed, that is admitted and then says words wherever HTTP/2 and the
// health service have room for them. It answers no call. It is for tests of what becomes of such words.
func Speak(lis net.Listener, words string) error {
	return accept(lis, attack{late: true,
		run: func(p *peer) { p.bytes(goAway(nextCode(), words)) },
		answer: func(p *peer, r request) {
			if r.probe() {
				p.fail(r.stream, 13, percent(words))
			}
		}})
}

// process is an enclave under way.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
}

// spawn starts an enclave that listens at path, and waits until it does.
func spawn(ctx context.Context, name, path string) (*process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = append(os.Environ(), ChildEnv+"="+name+"|"+path)
	cmd.Stderr = os.Stderr
	cmd.WaitDelay = time.Second
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd, in}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		return nil, errors.Join(fmt.Errorf("enclave %s said %q: %w", name, line, err), p.stop())
	}
	return p, nil
}

// stop ends it and waits.
func (p *process) stop() error {
	_ = p.stdin.Close()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("enclave: %w", err)
	}
	return nil
}
