package pool

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"

	"github.com/enclavepool/enclavepool/internal/field"
	"github.com/enclavepool/enclavepool/internal/lb"
)

// Pool keeps connections to a set of enclaves. All its methods are safe for
// concurrent use.
type Pool struct {
	opts     options
	enclaves atomic.Pointer[enclaveSet]
	metrics  *metrics
	// requestTimeout is Config.RequestTimeout.
	requestTimeout atomic.Int64
	parse          func(target string) error
	serviceConfig  string

	updating sync.Mutex // held by Update, and by Close while it shuts the door
	config   Config     // the last one applied
	records  map[string]*record
	retiring []*retirement
	streams  []*warmStreams
	starts   starts
	events   events
	views    views
	closed   atomic.Bool
}

// enclaveSet is replaced, never changed.
type enclaveSet struct {
	byID map[string]*enclave
	all  []*enclave // as configured
}

// few is up to how many enclaves comparing IDs is quicker than hashing one.
const few = 4

// find returns nil for an ID that is not there. IDs often differ in the last
// byte alone, so that is compared before the whole.
func newEnclaveSet(n int) *enclaveSet { return &enclaveSet{byID: make(map[string]*enclave, n)} }

func (s *enclaveSet) add(e *enclave) {
	s.byID[e.id] = e
	s.all = append(s.all, e)
}

func (s *enclaveSet) find(id string) *enclave {
	if len(s.all) > few {
		return s.byID[id]
	}
	n := len(id)
	for _, e := range s.all {
		if len(e.id) == n && e.id[n-1] == id[n-1] && e.id == id {
			return e
		}
	}
	return nil
}

// New starts connecting to every enclave, MinConns connections each and all at
// once, and returns without waiting for them; Ready waits. Calls made before
// the first connection is there wait for it, up to Reconnect.Budget.
//
// The error joins one *Error with ErrConfig for each bad field; the pool is
// then nil and nothing was started.
func New(cfg Config, opts ...Option) (*Pool, error) {
	o := newOptions(opts)
	parse := checkTarget
	if o.dialer != nil {
		parse = func(string) error { return nil }
	}
	problems := cfg.validate(parse)
	serviceConfig, err := lb.ServiceConfig(o.serviceConfig)
	if err == nil {
		err = checkDialOptions(o.credentials, grpc.WithDefaultServiceConfig(serviceConfig))
	}
	if err != nil {
		problems = append(problems, &field.Error{Field: "WithServiceConfig", Value: o.serviceConfig, Want: "a gRPC service config: " + err.Error()})
	}
	switch {
	case bringCredentials(o.dialOptions):
		problems = append(problems, &field.Error{Field: "WithDialOptions", Value: "transport credentials", Want: "none among the dial options; use WithTransportCredentials"})
	default:
		if err := checkDialOptions(o.credentials, o.dialOptions...); err != nil {
			problems = append(problems, &field.Error{Field: "WithDialOptions", Value: "", Want: "options gRPC accepts: " + err.Error()})
		}
	}
	if len(problems) > 0 {
		return nil, configErrors(problems)
	}

	p := &Pool{opts: o, parse: parse, serviceConfig: serviceConfig, config: cfg.clone()}
	p.starts.most = mostStarts()
	p.requestTimeout.Store(int64(cfg.RequestTimeout))
	p.enclaves.Store(&enclaveSet{})
	if p.metrics, err = newMetrics(o.meters, p); err != nil {
		return nil, err
	}
	set := newEnclaveSet(len(cfg.Enclaves))
	for _, ec := range cfg.Enclaves {
		e, err := newEnclave(cfg, ec, p)
		if err != nil {
			p.enclaves.Store(set)
			return nil, errors.Join(err, p.Close(closedContext()))
		}
		set.add(e)
	}
	p.enclaves.Store(set)
	return p, nil
}

// closedContext is one that has ended already.
func closedContext() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// enclave finds an enclave by its ID.
func (p *Pool) enclave(id string) (*enclave, error) {
	if e := p.enclaves.Load().find(id); e != nil {
		return e, nil
	}
	return nil, &Error{EnclaveID: id, Reason: ErrUnknownEnclave}
}

// all returns the enclaves as configured.
func (p *Pool) all() []*enclave { return p.enclaves.Load().all }

// Ready waits until every enclave has its minimum of Healthy connections. When
// ctx ends first, the error joins an *Error for each enclave that is missing:
// its Reason is ctx's error, its Cause says how many connections the enclave has
// and why not more.
func (p *Pool) Ready(ctx context.Context) error {
	var errs []error
	for _, e := range p.all() {
		if err := e.ready(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// Close lets nothing new in: callers that queue get ErrClosed at once. It
// waits for the calls in flight, and the leases out, until ctx ends; what is
// left then is cut, and the error counts it: an *Error for each such enclave,
// with ctx's error as its Reason. Calling it again returns nil at once.
func (p *Pool) Close(ctx context.Context) error {
	p.updating.Lock()
	closed := p.closed.Swap(true)
	retiring := p.retiring
	p.updating.Unlock()
	if closed {
		return nil
	}
	enclaves := p.all()
	errs := make([]error, len(enclaves))
	var closing sync.WaitGroup
	for _, r := range retiring {
		closing.Go(func() { r.finish(ctx) })
	}
	for i, e := range enclaves {
		closing.Go(func() { errs[i] = e.close(ctx) })
	}
	closing.Wait()
	for _, r := range retiring {
		errs = append(errs, r.err)
	}
	p.events.close()
	return errors.Join(append(errs, p.metrics.close())...)
}
