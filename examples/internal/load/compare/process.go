package compare

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/enclave"
)

// roleVariable makes this program play an enclave: the way it signs, a blank and its target.
const roleVariable = "LOADGEN_PLAYS_ENCLAVE"

// fakeStreamLimit is above the callers there may usually be, so that one shared connection is not held
// up by the enclave's limit.
const fakeStreamLimit = 2000

// PlayEnclave serves as one of Run's fake enclaves, to its end, if that is what this process was started
// for; false: it was not. A program that uses Run without enclaves calls it first of all.
func PlayEnclave() bool {
	role, ok := os.LookupEnv(roleVariable)
	if !ok {
		return false
	}
	if err := playEnclave(role); err != nil {
		fmt.Fprintln(os.Stderr, "loadgen: as an enclave:", err)
		os.Exit(1)
	}
	return true
}

// playEnclave serves until standard input ends, so it cannot outlive the process that started it. Each
// line that it reads is answered with the CPU time it has used, in ns.
func playEnclave(role string) error {
	sign, address, ok := strings.Cut(role, " ")
	if !ok {
		return fmt.Errorf("%s=%q: want a way to sign and a target", roleVariable, role)
	}
	s, err := enclave.New(enclave.Options{Sign: enclave.SignMode(sign), MaxConcurrentStreams: fakeStreamLimit})
	if err != nil {
		return err
	}
	lis, err := enclave.Listen(address)
	if err != nil {
		return err
	}
	go func() {
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			fmt.Println(int64(cpuTime()))
		}
		s.Close()
	}()
	fmt.Println("listening")
	return s.Serve(lis)
}

// process is a fake enclave in a process of its own.
type process struct {
	target string
	in     io.WriteCloser
	out    *bufio.Reader
	cmd    *exec.Cmd
	dir    string
}

// startEnclave returns when the enclave listens.
func startEnclave(ctx context.Context, sign enclave.SignMode) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "loadgen")
	if err != nil {
		return nil, err
	}
	p := &process{target: "unix:" + filepath.Join(dir, "e.sock"), cmd: exec.CommandContext(ctx, self), dir: dir}
	p.cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s", roleVariable, sign, p.target))
	p.cmd.Stderr = os.Stderr
	in, inErr := p.cmd.StdinPipe()
	out, outErr := p.cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr, p.cmd.Start()); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	p.in, p.out = in, bufio.NewReader(out)
	if line, err := p.out.ReadString('\n'); err != nil {
		p.stop()
		return nil, fmt.Errorf("the enclave's process said %q: %w", line, err)
	}
	return p, nil
}

// cpuTime asks for the CPU time that the enclave has used.
func (p *process) cpuTime() (time.Duration, error) {
	if _, err := io.WriteString(p.in, "cpu\n"); err != nil {
		return 0, fmt.Errorf("asking the enclave's process: %w", err)
	}
	line, err := p.out.ReadString('\n')
	if err != nil {
		return 0, fmt.Errorf("the enclave's process said %q: %w", line, err)
	}
	ns, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
	return time.Duration(ns), err
}

// stop ends the process and waits for its end.
func (p *process) stop() {
	p.in.Close()
	_, _ = io.Copy(io.Discard, p.out)
	_ = p.cmd.Wait() // how an enclave ends that is told to changes no figure
	os.RemoveAll(p.dir)
}
