package pool

import (
	"context"
	"errors"
	"time"

	"github.com/enclavepool/enclavepool/breaker"
)

// Update makes cfg the pool's Config, by what is different about it: enclaves
// are added, removed, moved to another target; sizes, limits, timeouts and
// policies take effect at once, on the connections that are there. It is the
// whole truth about sizes and replaces earlier Resizes; drains and cordons
// outlast it. A cfg that is not valid changes nothing: the error is as New's.
//
// An enclave that is removed, or whose Target, Authority or Keepalive has
// changed, finishes what is in flight on the connections that it had, however
// long that takes, and admits nothing more: callers go on with the new
// connections, those who queue included, or get ErrUnknownEnclave.
//
// Update returns without waiting for connections; Ready waits. What was changed
// is logged as a difference.
func (p *Pool) Update(cfg Config) error {
	p.updating.Lock()
	defer p.updating.Unlock()
	if p.closed.Load() {
		return &Error{Reason: ErrClosed}
	}
	if problems := cfg.validate(p.parse); len(problems) > 0 {
		return configErrors(problems)
	}
	before := p.enclaves.Load()
	next := newEnclaveSet(len(cfg.Enclaves))
	var fresh []*enclave
	for _, ec := range cfg.Enclaves {
		e := before.find(ec.ID)
		if e == nil || e.outdated(cfg, ec) {
			made, err := newEnclave(cfg, ec, p)
			if err != nil {
				for _, e := range fresh {
					err = errors.Join(err, e.close(closedContext()))
				}
				return err
			}
			if e != nil {
				made.inherit(e)
			}
			e = made
			fresh = append(fresh, made)
		}
		next.add(e)
	}
	// From here on nothing fails.
	changes := difference(p.config, cfg)
	p.config = cfg.clone()
	p.requestTimeout.Store(int64(cfg.RequestTimeout))
	for i, ec := range cfg.Enclaves {
		next.all[i].reconfigure(cfg, ec)
	}
	p.enclaves.Store(next)
	p.views.changes.Add(1)
	for _, ws := range p.streams {
		for _, e := range fresh {
			ws.setFor(e)
		}
	}
	for _, e := range before.all {
		if now := next.find(e.id); now != e {
			p.retire(e, now != nil)
		}
	}
	p.opts.logger.Info("configuration updated", "changes", changes)
	return nil
}

// outdated tells whether e cannot be made what cfg says.
func (e *enclave) outdated(cfg Config, ec Enclave) bool {
	return e.target != ec.Target || e.authority != ec.authority() || e.cfg.Load().keepalive != cfg.Keepalive
}

// inherit takes over what an operator has said of the enclave that e replaces.
func (e *enclave) inherit(from *enclave) {
	e.cordoned.Store(from.cordoned.Load())
	from.mu.Lock()
	draining := from.draining
	from.mu.Unlock()
	if draining {
		e.beginDrain()
	}
}

// reconfigure applies all that takes no new channel.
func (e *enclave) reconfigure(cfg Config, ec Enclave) {
	least, most := cfg.sizes(ec)
	now := cfg.settings()
	before := e.cfg.Swap(now)
	e.weight.Store(int32(max(ec.Weight, 1)))
	e.mu.Lock()
	defer e.mu.Unlock()
	e.minConns.Store(int32(least))
	e.maxConns.Store(int32(most))
	e.keeper.post(func(k *keeper) { k.adopt(before, now) })
}

// adopt follows a change of settings.
func (k *keeper) adopt(before, s *settings) {
	now := time.Now()
	for _, p := range k.places {
		if before.reconnect != s.reconnect {
			p.backoff = s.reconnect.Backoff()
		}
		if before.health != s.health {
			p.rest = breaker.Cooldown{Base: s.health.Cooldown}
		}
		c := p.conn
		if c == nil {
			continue
		}
		// One that the enclave has suspended goes on by the old policy until it
		// is restored, unless nobody would ask any more.
		if before.health != s.health && (!c.suspended || s.health.Disabled) {
			c.watch(s.health, now)
			if c.suspended {
				k.restore(c, now)
			}
		}
		if before.maxConnAge != s.maxConnAge {
			k.setRetirement(c)
		}
	}
	if before.maxStreams != s.maxStreams {
		k.setRamp(k.e.ramp.Load())
		k.e.serve()
	}
	k.fit()
}

// retirement is an enclave that is no longer in the Config, and has calls in
// flight.
type retirement struct {
	cut  context.CancelFunc
	done chan struct{}
	err  error
}

// retire lets e finish what it has, in the background, and closes it. moved:
// another has its name.
func (p *Pool) retire(e *enclave, moved bool) {
	e.silent.Store(moved)
	e.replaced.Store(true)
	ctx, cancel := context.WithCancel(context.Background())
	r := &retirement{cut: cancel, done: make(chan struct{})}
	p.retiring = append(p.retiring, r)
	go func() {
		r.err = e.close(ctx)
		cancel()
		close(r.done)
		if p.updating.TryLock() { // else the next Update, or Close, sees to it
			p.tidyLocked()
			p.updating.Unlock()
		}
		if !moved {
			p.events.forget(e.id)
		}
	}()
	p.tidyLocked()
}

// tidyLocked forgets the retirements that are over.
func (p *Pool) tidyLocked() {
	left := p.retiring[:0:0]
	for _, r := range p.retiring {
		select {
		case <-r.done:
		default:
			left = append(left, r)
		}
	}
	p.retiring = left
}

// finish waits for a retirement until ctx ends, and cuts it then.
func (r *retirement) finish(ctx context.Context) {
	defer context.AfterFunc(ctx, r.cut)()
	<-r.done
	var cut *Error
	if ctx.Err() != nil && errors.As(r.err, &cut) {
		cut.Reason = ctx.Err() // it was this context that ended it
	}
}
