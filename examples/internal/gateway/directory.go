package gateway

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/enclavepool/enclavepool/routing"
	"github.com/enclavepool/enclavepool/routing/boltdir"
	"github.com/enclavepool/enclavepool/routing/etcddir"
	"github.com/enclavepool/enclavepool/routing/memdir"
)

// DefaultDirectory is the directory of a gateway that is told of none: a file in the folder that it is started in.
const DefaultDirectory = "bolt:gateway-placements.db"

// Directory says where it is written down which enclave each key lives in. ParseDirectory makes one.
type Directory struct {
	// File is that of a bbolt database, Endpoints are those of an etcd. Neither: memory.
	File      string
	Endpoints []string
	// TLS is for endpoints that begin with https. Nil: the system's authorities, and no certificate of our own.
	TLS *tls.Config
}

// ParseDirectory understands "memory", "bolt:FILE" and "etcd:ENDPOINT,ENDPOINT,…", where an endpoint is host:port or a URL
// that begins with http:// or https://.
func ParseDirectory(text string) (Directory, error) {
	kind, where, named := strings.Cut(text, ":")
	switch {
	case text == "memory":
		return Directory{}, nil
	case kind == "bolt" && named:
		if where == "" {
			return Directory{}, errors.New("bolt: names no file")
		}
		return Directory{File: where}, nil
	case kind == "etcd" && named:
		d := Directory{Endpoints: strings.Split(where, ",")}
		for i, e := range d.Endpoints {
			d.Endpoints[i] = strings.TrimSpace(e)
			if err := checkEndpoint(d.Endpoints[i]); err != nil {
				return Directory{}, err
			}
		}
		return d, nil
	}
	return Directory{}, errors.New("there is no such directory")
}

func checkEndpoint(text string) error {
	if scheme, _, ok := strings.Cut(text, "://"); ok {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || scheme != "http" && scheme != "https" {
			return fmt.Errorf("%q is no endpoint of an etcd", text)
		}
		return nil
	}
	if host, _, err := net.SplitHostPort(text); err != nil || host == "" {
		return fmt.Errorf("%q is no endpoint of an etcd", text)
	}
	return nil
}

// Shared says that other gateways use the same record, and that it may be away while this gateway is not.
func (d Directory) Shared() bool { return len(d.Endpoints) > 0 }

// Open opens the directory; closing ends it. An etcd that does not answer is none of its errors: the gateway starts without
// it, and serves when it is there.
func (d Directory) Open() (dir routing.Directory, closing func() error, err error) {
	switch {
	case d.File != "":
		file, err := boltdir.Open(d.File)
		if errors.Is(err, boltdir.ErrLocked) {
			return nil, nil, fmt.Errorf("placement directory: %w; one process has it at a time: gateways that share their keys "+
				"share an etcd (-directory etcd:ENDPOINTS), others have a file each (-directory bolt:FILE)", err)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("placement directory: %w", err)
		}
		return file, file.Close, nil
	case d.Shared():
		cfg := etcddir.Config(d.Endpoints...)
		cfg.TLS = d.TLS
		cfg.Logger = zap.NewNop() // what is wrong with it the directory says
		client, err := clientv3.New(cfg)
		if err != nil {
			return nil, nil, fmt.Errorf("placement directory: %w", err)
		}
		shared := etcddir.New(client)
		return shared, func() error { return errors.Join(shared.Close(), client.Close()) }, nil
	}
	memory := memdir.New()
	return memory, memory.Close, nil
}
