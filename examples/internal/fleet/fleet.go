package fleet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	"github.com/enclavepool/enclavepool/routing/etcddir/etcdtest"
)

// Config says what to launch.
type Config struct {
	// Programs has "enclave" and "gateway".
	Programs stack.Programs
	// Dir is an existing folder for sockets, logs and data, with a short path.
	Dir string
	// Enclaves and Gateways are how many there are: a, b, … and g1, g2, …
	Enclaves, Gateways int
	// Members of the etcd. 0: a bbolt file, which has one gateway.
	Members int
	// GatewayArgs are added to the gateways' arguments.
	GatewayArgs []string
}

// Fleet is what runs. Its methods are for one goroutine, but for those that only ask.
type Fleet struct {
	Enclaves []*stack.Enclave
	Gateways []*Gateway
	// Etcd is nil with a bbolt file.
	Etcd *etcdtest.Cluster

	cfg    Config
	listed []string // the enclaves that the gateways know, as "id=target"
}

// Launch starts everything and returns when the gateways are ready. After an error nothing runs.
func Launch(ctx context.Context, cfg Config) (*Fleet, error) {
	f := &Fleet{cfg: cfg}
	if err := f.launch(ctx); err != nil {
		return nil, errors.Join(err, f.Kill())
	}
	return f, nil
}

func (f *Fleet) launch(ctx context.Context) (err error) {
	directory := "bolt:" + filepath.Join(f.cfg.Dir, "placements.db")
	if f.cfg.Members > 0 {
		data := filepath.Join(f.cfg.Dir, "etcd")
		if err := os.Mkdir(data, 0o700); err != nil {
			return err
		}
		if f.Etcd, err = etcdtest.Start(ctx, data, f.cfg.Members); err != nil {
			return err
		}
		directory = "etcd:" + strings.Join(f.Etcd.Endpoints(), ",")
	}
	for i := range f.cfg.Enclaves {
		if err := f.startEnclave(ctx, string(rune('a'+i))); err != nil {
			return err
		}
	}
	for i := range f.cfg.Gateways {
		g, err := newGateway(f.cfg.Programs["gateway"], f.cfg.Dir, fmt.Sprint("g", i+1), directory, f.cfg.GatewayArgs)
		if err != nil {
			return err
		}
		f.Gateways = append(f.Gateways, g)
		if err := g.list(f.listed); err != nil {
			return err
		}
		if err := g.Start(ctx); err != nil {
			return err
		}
	}
	for _, g := range f.Gateways {
		if err := g.Ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (f *Fleet) startEnclave(ctx context.Context, id string) error {
	e := stack.NewEnclave(f.cfg.Programs["enclave"], f.cfg.Dir, id, stack.Unix)
	if err := e.Start(ctx); err != nil {
		return err
	}
	f.Enclaves = append(f.Enclaves, e)
	f.listed = append(f.listed, e.ID+"="+e.Target)
	return nil
}

// Join starts one more enclave and has every gateway know it.
func (f *Fleet) Join(ctx context.Context) (id string, err error) {
	id = string(rune('a' + len(f.Enclaves)))
	if err := f.startEnclave(ctx, id); err != nil {
		return "", err
	}
	for _, g := range f.Gateways {
		if err := g.list(f.listed); err != nil {
			return "", err
		}
	}
	for _, g := range f.Gateways {
		if err := g.knows(ctx, id); err != nil {
			return "", err
		}
	}
	return id, nil
}

// Operate has every gateway drain an enclave, or resume, cordon or uncordon it.
func (f *Fleet) Operate(ctx context.Context, enclaveID, action string) error {
	errs := make([]error, len(f.Gateways))
	var wg sync.WaitGroup
	for i, g := range f.Gateways {
		wg.Go(func() { errs[i] = g.Operate(ctx, enclaveID, action) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Keys is how many keys there are in all enclaves together.
func (f *Fleet) Keys(ctx context.Context) (n int, err error) {
	for _, e := range f.Enclaves {
		s, err := e.Stats(ctx)
		if err != nil {
			return 0, err
		}
		n += s.Keys
	}
	return n, nil
}

// Kill ends at once what runs. The error says what had ended by itself.
func (f *Fleet) Kill() error {
	var errs []error
	for _, g := range f.Gateways {
		errs = append(errs, g.close())
	}
	for _, e := range f.Enclaves {
		if !e.Running() {
			errs = append(errs, fmt.Errorf("enclave %s has ended by itself; it said:\n%s", e.ID, e.LogTail(10)))
		}
		e.Kill()
	}
	if f.Etcd != nil {
		errs = append(errs, f.Etcd.Close())
	}
	return errors.Join(errs...)
}
