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
	"path/filepath"
	"strings"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/enclave"
)

// ChildEnv is the environment variable that makes this program, started anew, one enclave or more. A program that finds
// it set calls Child and nothing else.
const ChildEnv = "ENCLAVEPOOL_HOSTILE_CHILD"

// healthy names the enclave that is not hostile.
const healthy = "healthy"

// Child is enclaves until stdin ends, which it does with the process that started it. It says "ready" first. Each
// listens at a socket of its name, in one folder.
func Child(stdin io.Reader, stdout io.Writer) error {
	dir, names, _ := strings.Cut(os.Getenv(ChildEnv), "|")
	failed := make(chan error, 1)
	for name := range strings.SplitSeq(names, ",") {
		lis, err := enclave.Listen("unix:" + filepath.Join(dir, name))
		if err != nil {
			return err
		}
		serve, err := server(name)
		if err != nil {
			return err
		}
		go func() { failed <- serve(lis) }()
	}
	fmt.Fprintln(stdout, "ready")
	go func() {
		_, err := io.Copy(io.Discard, stdin)
		failed <- err
	}()
	return <-failed
}

// server returns what an enclave does with its listener.
func server(name string) (func(net.Listener) error, error) {
	if name == healthy {
		s, err := enclave.New(enclave.Options{Sign: enclave.SignEcho})
		return s.Serve, err
	}
	a, err := find(name)
	return func(lis net.Listener) error { return accept(lis, a) }, err
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

// process has enclaves under way.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
}

// spawn starts enclaves that listen in dir, and waits until they do.
func spawn(ctx context.Context, dir string, names ...string) (*process, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program)
	cmd.Env = append(os.Environ(), ChildEnv+"="+dir+"|"+strings.Join(names, ","))
	cmd.Stderr = os.Stderr
	cmd.WaitDelay = time.Second
	apart(cmd)
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
		return nil, errors.Join(fmt.Errorf("enclaves %s said %q: %w", names, line, err), p.stop())
	}
	return p, nil
}

// stop ends it and waits.
func (p *process) stop() error {
	_ = p.stdin.Close()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("enclaves: %w", err)
	}
	return nil
}
