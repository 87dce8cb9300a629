package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/enclave"
	"github.com/enclavepool/enclavepool/examples/internal/stall"
)

// Enclave is a fake enclave, with one process after another. Its methods are for one goroutine, those that ask the
// control endpoint apart.
type Enclave struct {
	// ID is its name in the gateway; Target is where it listens, in every process.
	ID, Target string

	program, dir string
	args         []string
	web          *http.Client // to the control endpoint
	*Process                  // the latest
}

// NewEnclave returns an enclave without a process yet. program is the path of the fake enclave, dir an existing folder
// for its sockets and its log, whose path is short; args are added to its arguments.
func NewEnclave(program, dir, id string, transport Transport, args ...string) *Enclave {
	e := &Enclave{ID: id, Target: transport.Address(dir, id), program: program, dir: dir, args: args}
	e.web = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, // nothing to leave behind, and nothing stale after a restart
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", e.control())
		},
	}}
	return e
}

func (e *Enclave) control() string { return filepath.Join(e.dir, e.ID+".ctl") }

// Start starts a process, the first or one after the last has ended, and waits until it listens.
func (e *Enclave) Start(ctx context.Context) error {
	args := append([]string{"-listen", e.Target, "-control", "unix:" + e.control()}, e.args...)
	p, err := start(e.ID, e.program, filepath.Join(e.dir, e.ID+".log"), nil, args...)
	if err != nil {
		return err
	}
	e.Process = p
	_, err = p.ready(ctx)
	return err
}

// Stats is what the current process has done since it started.
func (e *Enclave) Stats(ctx context.Context) (enclave.Stats, error) {
	var s enclave.Stats
	return s, e.ask(ctx, http.MethodGet, "/stats", "", &s)
}

// Stalls are the times in which the current process did not get a processor, or was frozen.
func (e *Enclave) Stalls(ctx context.Context) ([]stall.Stall, error) {
	var s []stall.Stall
	return s, e.ask(ctx, http.MethodGet, "/stalls", "", &s)
}

// SetFaults changes the faults that the JSON object names, such as {"not_serving":true}.
func (e *Enclave) SetFaults(ctx context.Context, patch string) error {
	return e.ask(ctx, http.MethodPost, "/faults", patch, new(json.RawMessage))
}

// Drop closes n of the enclave's connections, or all when n is 0, and returns how many it closed.
func (e *Enclave) Drop(ctx context.Context, n int) (int, error) {
	path := "/drop"
	if n > 0 {
		path += fmt.Sprintf("?connections=%d", n)
	}
	var answer struct{ Dropped int }
	return answer.Dropped, e.ask(ctx, http.MethodPost, path, "", &answer)
}

// ask makes a request to the control endpoint.
func (e *Enclave) ask(ctx context.Context, method, path, body string, into any) error {
	answer, err := ask(ctx, e.web, method, "http://enclave"+path, body)
	if err == nil {
		err = json.Unmarshal(answer, into)
	}
	if err != nil {
		return fmt.Errorf("%s: %s %s: %w", e.ID, method, path, err)
	}
	return nil
}

// ask makes an HTTP request and returns the body of the answer; an answer other than 200 is an error.
func ask(ctx context.Context, web *http.Client, method, url, body string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := web.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, errors.New(res.Status + ": " + strings.TrimSpace(string(answer)))
	}
	return answer, nil
}
