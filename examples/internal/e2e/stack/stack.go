package stack

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Conns is how many connections the gateway keeps to each enclave by default.
const Conns = 16

// pollEvery is the pause between two looks at something that has to become so.
const pollEvery = 20 * time.Millisecond

// Config says what to launch.
type Config struct {
	// Programs has "enclave" and "gateway".
	Programs Programs
	// Dir is an existing folder for sockets and logs. Its path is short: that of a unix socket has 107 bytes.
	Dir string
	// Transport is how the gateway reaches the enclaves. Required.
	Transport Transport
	// Enclaves are their IDs, which are file names too. At least one.
	Enclaves []string
	// Conns is how many connections the gateway keeps to each enclave. 0: its default, which is the constant Conns.
	Conns int
	// EnclaveArgs and GatewayArgs are added to the programs' arguments, GatewayEnv to the gateway's environment.
	EnclaveArgs, GatewayArgs, GatewayEnv []string
}

// Stack is enclaves and a gateway that is connected to them.
type Stack struct {
	Enclaves []*Enclave
	Gateway  *Gateway
}

// Launch starts the processes and returns when the gateway has all its connections. After an error nothing runs.
func Launch(ctx context.Context, cfg Config) (*Stack, error) {
	s := &Stack{}
	if err := s.launch(ctx, cfg); err != nil {
		s.Kill()
		return nil, err
	}
	return s, nil
}

func (s *Stack) launch(ctx context.Context, cfg Config) error {
	errs := make([]error, len(cfg.Enclaves))
	var wg sync.WaitGroup
	for i, id := range cfg.Enclaves {
		e := NewEnclave(cfg.Programs["enclave"], cfg.Dir, id, cfg.Transport, cfg.EnclaveArgs...)
		s.Enclaves = append(s.Enclaves, e)
		wg.Go(func() { errs[i] = e.Start(ctx) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	env, conns := cfg.GatewayEnv, Conns
	if cfg.Conns > 0 {
		conns = cfg.Conns
		env = append([]string{fmt.Sprint("SIGN_CONN_POOL_MIN=", conns), fmt.Sprint("SIGN_CONN_POOL_MAX=", conns)}, env...)
	}
	var err error
	if s.Gateway, err = startGateway(ctx, cfg.Programs["gateway"], cfg.Dir, s.Enclaves, env, cfg.GatewayArgs); err != nil {
		return err
	}
	for _, e := range s.Enclaves {
		if err := s.AwaitConns(ctx, e.ID, conns); err != nil {
			return fmt.Errorf("%w; the gateway said:\n%s", err, s.Gateway.LogTail(10))
		}
	}
	return nil
}

// AwaitConns waits until the gateway's active_conns for the enclave is n, or more unless n is 0.
func (s *Stack) AwaitConns(ctx context.Context, enclaveID string, n int) error {
	for {
		m, err := s.Gateway.Metrics(ctx)
		if err == nil {
			have := m.ActiveConns(enclaveID)
			if have == n || n > 0 && have > n {
				return nil
			}
			err = fmt.Errorf("active_conns is %d", have)
		}
		select {
		case <-time.After(pollEvery):
		case <-s.Gateway.Done():
			return fmt.Errorf("the gateway has ended: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("waiting for %d connections to %s: %w: %w", n, enclaveID, ctx.Err(), err)
		}
	}
}

// Stop ends the gateway and then the enclaves that still run, all in order (SIGTERM); what is left when ctx ends is
// killed. The error names each that did not end well.
func (s *Stack) Stop(ctx context.Context) error {
	gone := s.Gateway.Stop(ctx)
	errs := make([]error, len(s.Enclaves))
	var wg sync.WaitGroup
	for i, e := range s.Enclaves {
		if e.Running() {
			wg.Go(func() { errs[i] = e.Stop(ctx) })
		}
	}
	wg.Wait()
	return errors.Join(append(errs, gone)...)
}

// Kill ends at once what runs.
func (s *Stack) Kill() {
	if s.Gateway != nil {
		s.Gateway.Kill()
	}
	for _, e := range s.Enclaves {
		if e.Process != nil {
			e.Kill()
		}
	}
}
