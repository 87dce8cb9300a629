package stack

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Conns is how many connections the gateway keeps to each enclave by default.
const Conns = 16

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
	// Others are further gateways to the same enclaves.
	Others []*Gateway

	cfg Config
}

// Launch starts the processes and returns when the gateway has all its connections. After an error nothing runs.
func Launch(ctx context.Context, cfg Config) (*Stack, error) {
	s := &Stack{cfg: cfg}
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
	var err error
	s.Gateway, err = s.startGateway(ctx, "gateway", s.Enclaves, cfg.GatewayArgs)
	return err
}

// Another starts one more gateway to the same enclaves, which it is given in the reverse order, with the name and the
// arguments, and returns when it has all its connections.
func (s *Stack) Another(ctx context.Context, name string, args ...string) (*Gateway, error) {
	enclaves := slices.Clone(s.Enclaves)
	slices.Reverse(enclaves)
	g, err := s.startGateway(ctx, name, enclaves, args)
	if err == nil {
		s.Others = append(s.Others, g)
	}
	return g, err
}

func (s *Stack) startGateway(ctx context.Context, name string, enclaves []*Enclave, args []string) (*Gateway, error) {
	env, conns := s.cfg.GatewayEnv, Conns
	if s.cfg.Conns > 0 {
		conns = s.cfg.Conns
		env = append([]string{fmt.Sprint("SIGN_CONN_POOL_MIN=", conns), fmt.Sprint("SIGN_CONN_POOL_MAX=", conns)}, env...)
	}
	g, err := startGateway(ctx, name, s.cfg.Programs["gateway"], s.cfg.Dir, enclaves, env, args)
	if err != nil {
		return nil, err
	}
	for _, e := range enclaves {
		if err := g.AwaitConns(ctx, e.ID, conns); err != nil {
			g.Kill()
			return nil, fmt.Errorf("%w; the gateway said:\n%s", err, g.LogTail(10))
		}
	}
	return g, nil
}

// AwaitConns waits as Gateway.AwaitConns does, for the first gateway.
func (s *Stack) AwaitConns(ctx context.Context, enclaveID string, n int) error {
	return s.Gateway.AwaitConns(ctx, enclaveID, n)
}

// Stop ends the gateways and then the enclaves that still run, all in order (SIGTERM); what is left when ctx ends is
// killed. The error names each that did not end well.
func (s *Stack) Stop(ctx context.Context) error {
	gateways := append([]*Gateway{s.Gateway}, s.Others...)
	gone := make([]error, len(gateways))
	var wg sync.WaitGroup
	for i, g := range gateways {
		wg.Go(func() { gone[i] = g.Stop(ctx) })
	}
	wg.Wait()
	errs := make([]error, len(s.Enclaves))
	for i, e := range s.Enclaves {
		if e.Running() {
			wg.Go(func() { errs[i] = e.Stop(ctx) })
		}
	}
	wg.Wait()
	return errors.Join(append(errs, gone...)...)
}

// Kill ends at once what runs.
func (s *Stack) Kill() {
	if s.Gateway != nil {
		s.Gateway.Kill()
	}
	for _, g := range s.Others {
		g.Kill()
	}
	for _, e := range s.Enclaves {
		if e.Process != nil {
			e.Kill()
		}
	}
}
