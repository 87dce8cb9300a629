package etcddir

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/enclavepool/enclavepool/routing"
)

// placement is what etcd has, as of that revision.
func (d *Directory) placement(kv *mvccpb.KeyValue, revision int64) routing.Placement {
	return routing.Placement{
		Key: string(kv.Key)[len(d.prefix):], EnclaveID: string(kv.Value),
		Version: uint64(kv.ModRevision), AsOf: uint64(revision),
	}
}

// made is a placement that was just written.
func made(key, enclaveID string, revision int64) routing.Placement {
	return routing.Placement{Key: key, EnclaveID: enclaveID, Version: uint64(revision), AsOf: uint64(revision)}
}

// change makes a change of one name if a condition holds. If not it returns what
// is there instead; nil: nothing.
func (d *Directory) change(ctx context.Context, op, name string, condition clientv3.Cmp, change clientv3.Op) (now *mvccpb.KeyValue, revision int64, done bool, err error) {
	var res *clientv3.TxnResponse
	err = d.ask(ctx, op, func(ctx context.Context) (err error) {
		res, err = d.client.Txn(ctx).If(condition).Then(change).Else(clientv3.OpGet(name)).Commit()
		return err
	})
	if err != nil {
		return nil, 0, false, err
	}
	if !res.Succeeded {
		if kvs := res.Responses[0].GetResponseRange().GetKvs(); len(kvs) > 0 {
			now = kvs[0]
		}
	}
	return now, res.Header.GetRevision(), res.Succeeded, nil
}

// changeFrom makes a change if the key is still placed so.
func (d *Directory) changeFrom(ctx context.Context, op string, from routing.Placement, change clientv3.Op) (int64, routing.Placement, error) {
	name := d.prefix + from.Key
	// A version of 0 would be that of a name that is not there.
	condition := clientv3.Compare(clientv3.ModRevision(name), "=", int64(max(from.Version, 1)))
	now, revision, done, err := d.change(ctx, op, name, condition, change)
	switch {
	case err != nil:
		return 0, routing.Placement{}, err
	case done:
		return revision, routing.Placement{}, nil
	case now == nil:
		return 0, routing.Placement{}, routing.ErrNotPlaced
	}
	return 0, d.placement(now, revision), routing.ErrConflict
}

// failure makes of etcd's error what routing.Directory says.
func (d *Directory) failure(ctx context.Context, op string, err error) error {
	switch {
	case err == nil:
		return nil
	case d.closing.Err() != nil, d.client.Ctx().Err() != nil:
		return routing.ErrDirectoryClosed
	case ctx.Err() != nil:
		return fmt.Errorf("etcddir: %s: %w", op, ctx.Err())
	case retryable(err):
		return &routing.DirectoryError{Op: op, RetryAfter: d.retryAfter, Cause: err}
	}
	return fmt.Errorf("etcddir: %s: %w", op, err)
}

// retryable tells whether etcd may do it later: no leader, no quorum, too much to
// do, no space left, nobody there, no answer in time.
func retryable(err error) bool {
	code := status.Code(err)
	var own rpctypes.EtcdError
	if errors.As(err, &own) {
		code = own.Code()
	}
	switch code {
	case codes.Unavailable, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Aborted, codes.Canceled:
		return true
	}
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}
