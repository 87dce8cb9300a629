package etcddir

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/enclavepool/enclavepool/routing"
)

// DefaultPrefix is where placements are: the value of DefaultPrefix+key is the
// enclave's ID, and nothing else, so that etcdctl shows it.
const DefaultPrefix = "/enclavepool/v1/keys/"

// Directory is a routing.Directory. It is safe for concurrent use.
type Directory struct {
	client     *clientv3.Client
	prefix     string
	timeout    time.Duration
	retryAfter time.Duration

	closing context.Context
	close   context.CancelFunc
}

var _ routing.Directory = (*Directory)(nil)

// An Option changes what New returns.
type Option func(*Directory)

// WithPrefix sets what the names of all placements begin with. Default
// DefaultPrefix; at least one byte. Nothing else may be below it.
func WithPrefix(prefix string) Option {
	if prefix == "" {
		panic(`etcddir: WithPrefix(""): valid: at least one byte`)
	}
	return func(d *Directory) { d.prefix = prefix }
}

// WithTimeout bounds each question to etcd. Default 1s, which an election of a new
// leader usually fits in; more than 0.
func WithTimeout(t time.Duration) Option {
	if t <= 0 {
		panic(fmt.Sprintf("etcddir: WithTimeout(%v): valid: more than 0", t))
	}
	return func(d *Directory) { d.timeout = t }
}

// Config returns the settings of a client that leaves a member which has fallen
// silent, after 12 seconds: etcd's own have no keepalive. Until then the calls that
// go to it fail, which are one in three where there are three. Add TLS, Username and
// Password to it.
func Config(endpoints ...string) clientv3.Config {
	return clientv3.Config{
		Endpoints:            endpoints,
		DialTimeout:          2 * time.Second,
		DialKeepAliveTime:    10 * time.Second, // twice what servers refuse
		DialKeepAliveTimeout: 2 * time.Second,
	}
}

// New returns a Directory that uses the client, which stays its caller's to close.
// It asks nothing yet.
func New(client *clientv3.Client, opts ...Option) *Directory {
	d := &Directory{client: client, prefix: DefaultPrefix, timeout: time.Second, retryAfter: 200 * time.Millisecond}
	for _, o := range opts {
		o(d)
	}
	d.closing, d.close = context.WithCancel(context.Background())
	return d
}

// Close ends every Watch, and makes every other call fail. The error is nil.
func (d *Directory) Close() error {
	d.close()
	return nil
}

// ask bounds a question, and makes of its error what routing.Directory says.
func (d *Directory) ask(ctx context.Context, op string, question func(context.Context) error) error {
	if d.closing.Err() != nil {
		return routing.ErrDirectoryClosed
	}
	limited, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	defer context.AfterFunc(d.closing, cancel)()
	return d.failure(ctx, op, question(limited))
}

// Lookup implements routing.Directory.
func (d *Directory) Lookup(ctx context.Context, key string) (p routing.Placement, err error) {
	if err := routing.CheckKey(key); err != nil {
		return p, err
	}
	var res *clientv3.GetResponse
	err = d.ask(ctx, "lookup", func(ctx context.Context) (err error) {
		res, err = d.client.Get(ctx, d.prefix+key)
		return err
	})
	switch {
	case err != nil:
		return p, err
	case len(res.Kvs) == 0:
		return p, routing.ErrNotPlaced
	}
	return d.placement(res.Kvs[0], res.Header.GetRevision()), nil
}

// Place implements routing.Directory.
func (d *Directory) Place(ctx context.Context, key, enclaveID string) (p routing.Placement, placed bool, err error) {
	if err := routing.CheckPlacement(key, enclaveID); err != nil {
		return p, false, err
	}
	name := d.prefix + key
	absent := clientv3.Compare(clientv3.CreateRevision(name), "=", 0)
	now, revision, placed, err := d.change(ctx, "place", name, absent, clientv3.OpPut(name, enclaveID))
	switch {
	case err != nil:
		return p, false, err
	case placed:
		return made(key, enclaveID, revision), true, nil
	case now == nil: // a transaction that fails because it is there, and it is not: not etcd's doing
		return p, false, &routing.DirectoryError{Op: "place", RetryAfter: d.retryAfter}
	}
	return d.placement(now, revision), false, nil
}

// Move implements routing.Directory.
func (d *Directory) Move(ctx context.Context, from routing.Placement, enclaveID string) (routing.Placement, error) {
	if err := routing.CheckPlacement(from.Key, enclaveID); err != nil {
		return routing.Placement{}, err
	}
	name := d.prefix + from.Key
	revision, now, err := d.changeFrom(ctx, "move", from, clientv3.OpPut(name, enclaveID))
	if err != nil {
		return now, err
	}
	return made(from.Key, enclaveID, revision), nil
}

// Forget implements routing.Directory.
func (d *Directory) Forget(ctx context.Context, p routing.Placement) error {
	if err := routing.CheckKey(p.Key); err != nil {
		return err
	}
	_, _, err := d.changeFrom(ctx, "forget", p, clientv3.OpDelete(d.prefix+p.Key))
	return err
}

// List implements routing.Directory.
func (d *Directory) List(ctx context.Context, after string, limit int) (page routing.Page, err error) {
	if err := routing.CheckLimit(limit); err != nil {
		return page, err
	}
	from := d.prefix + after
	if after != "" {
		from += "\x00" // the next after it
	}
	var res *clientv3.GetResponse
	err = d.ask(ctx, "list", func(ctx context.Context) (err error) {
		res, err = d.client.Get(ctx, from, clientv3.WithRange(clientv3.GetPrefixRangeEnd(d.prefix)), clientv3.WithLimit(int64(limit)))
		return err
	})
	if err != nil {
		return page, err
	}
	page.Revision, page.More = uint64(res.Header.GetRevision()), res.More
	for _, kv := range res.Kvs {
		page.Placements = append(page.Placements, d.placement(kv, res.Header.GetRevision()))
	}
	return page, nil
}
