package etcddir

import (
	"context"
	"fmt"
	"iter"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/enclavepool/enclavepool/routing"
)

// Watch implements routing.Directory. It ends with a *routing.DirectoryError when
// the member that it watches has no leader, or when nobody answers for 3 seconds; a
// member that is merely lost is replaced by another, and the watch goes on.
func (d *Directory) Watch(ctx context.Context, after uint64) iter.Seq2[routing.Change, error] {
	return func(yield func(routing.Change, error) bool) {
		inner, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
		defer cancel()
		defer context.AfterFunc(d.closing, cancel)()
		w := watching{Directory: d, yield: yield, after: after}
		for w.once(inner) {
		}
		if w.err != nil {
			yield(routing.Change{}, d.failure(ctx, "watch", w.err))
		}
	}
}

// maxSilence is for how long a member may say nothing: it answers several requests
// for progress in that time.
const maxSilence = 3 * routing.ProgressInterval

// errSilent is retryable.
var errSilent = fmt.Errorf("etcd said nothing for %v: %w", maxSilence, context.DeadlineExceeded)

// watching is one Watch.
type watching struct {
	*Directory
	yield   func(routing.Change, error) bool
	after   uint64
	cluster uint64 // the ID of the one that after is a revision of; 0: not known
	err     error  // that it ends with; nil: whoever watches has had enough
}

// now asks for the revision that the record has, and makes one that is of another
// cluster a revision of the future.
func (w *watching) now(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, w.timeout)
	defer cancel()
	res, err := w.client.Get(ctx, w.prefix, clientv3.WithCountOnly())
	if err != nil {
		return 0, err
	}
	if id := res.Header.GetClusterId(); id != w.cluster {
		if w.cluster != 0 {
			w.after = routing.Now
		}
		w.cluster = id
	}
	return uint64(res.Header.GetRevision()), nil
}

// reset begins anew at the present revision.
func (w *watching) reset(revision uint64) bool {
	w.after = revision
	return w.yield(routing.Change{Kind: routing.ChangeReset, Revision: revision}, nil)
}

// once watches until etcd ends it, and tells whether to watch again.
func (w *watching) once(ctx context.Context) bool {
	// Etcd waits in silence for a revision of the future, which a client has that
	// knew another cluster, or this one before a backup was restored.
	now, err := w.now(ctx)
	if err != nil {
		w.err = err
		return false
	}
	if w.after > now && !w.reset(now) {
		return false
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// From the revision that is known, not the next: from a revision of the future
	// etcd sends no progress either. What is known is left out.
	from := clientv3.WithRev(int64(max(w.after, 1)))
	responses := w.client.Watch(ctx, w.prefix, clientv3.WithPrefix(), from, clientv3.WithCreatedNotify())
	go w.askForProgress(ctx)
	silence := time.AfterFunc(maxSilence, cancel)
	defer silence.Stop()
	for res := range responses {
		silence.Reset(maxSilence)
		switch {
		case res.CompactRevision != 0:
			if now, w.err = w.now(ctx); w.err != nil {
				return false
			}
			return w.reset(now)
		case res.Err() != nil:
			w.err = res.Err()
			return false
		case res.Header.GetClusterId() != w.cluster, uint64(res.Header.GetRevision()) < w.after && !res.Created:
			return true // another cluster answers; a member that lags behind says no more than that it is there
		case !w.pass(res):
			return false
		}
	}
	w.err = errSilent // or closed, or out of time, which failure knows
	return false
}

// pass yields what a response says.
func (w *watching) pass(res clientv3.WatchResponse) bool {
	for _, e := range res.Events {
		if uint64(e.Kv.ModRevision) <= w.after {
			continue
		}
		c := routing.Change{
			Kind: routing.ChangePlaced, Key: string(e.Kv.Key)[len(w.prefix):],
			EnclaveID: string(e.Kv.Value), Revision: uint64(e.Kv.ModRevision),
		}
		switch {
		case e.Type == clientv3.EventTypeDelete:
			c.Kind = routing.ChangeForgotten
		case e.IsModify():
			c.Kind = routing.ChangeMoved
		}
		if !w.yield(c, nil) {
			return false
		}
	}
	if n := len(res.Events); n > 0 {
		w.after = max(w.after, uint64(res.Events[n-1].Kv.ModRevision))
	}
	if res.IsProgressNotify() {
		w.after = max(w.after, uint64(res.Header.GetRevision()))
	}
	if len(res.Events) > 0 {
		return true
	}
	return w.yield(routing.Change{Kind: routing.ChangeProgress, Revision: w.after}, nil)
}

// askForProgress makes etcd say that it has nothing to say: by itself it does so
// every ten minutes.
func (w *watching) askForProgress(ctx context.Context) {
	tick := time.NewTicker(routing.ProgressInterval * 3 / 4)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = w.client.RequestProgress(ctx) // the watch says what there is to be said
		case <-ctx.Done():
			return
		}
	}
}
