package main

import (
	"context"
	"crypto/tls"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/enclavepool/enclavepool/examples/internal/attestation"
	"github.com/enclavepool/enclavepool/examples/internal/enclave"
)

// attester has the hypervisor attest an enclave's word: the hash of its TLS key, and the connection's nonce.
type attester = func(userData, nonce []byte) ([]byte, error)

// server is a fake enclave, honest or not.
type server struct {
	id, story string
	want      error // why the pool refuses it; nil: it does not
	target    string
	heard     atomic.Int64 // calls, health checks included
	enclave   *enclave.Server
	done      chan error
}

// serve starts an enclave at a socket that nobody but this user can open.
func serve(dir, id, story string, want error, attest attester) (*server, error) {
	s := &server{id: id, story: story, want: want, target: "unix:" + filepath.Join(dir, id+".sock"), done: make(chan error, 1)}
	creds, err := attestation.NewCredentials(attest)
	if err != nil {
		return nil, err
	}
	s.enclave, err = enclave.New(enclave.Options{Credentials: creds, ServerOptions: []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			s.heard.Add(1)
			return next(ctx, req)
		}),
	}})
	if err != nil {
		return nil, err
	}
	lis, err := enclave.Listen(s.target)
	if err != nil {
		return nil, err
	}
	go func() { s.done <- s.enclave.Serve(lis) }()
	return s, nil
}

func (s *server) close() error {
	s.enclave.Close()
	return <-s.done
}

// The image that is meant, another one, and the name that the hypervisor has for an enclave.
const (
	image      = "signer"
	otherImage = "signer with a back door"
	moduleID   = "i-0example-enc0"
)

// ask connects to an enclave as anybody can, and takes its document and the hash of its key away.
func ask(ctx context.Context, target string) (document, key []byte, err error) {
	d := tls.Dialer{NetDialer: &net.Dialer{}, Config: &tls.Config{
		InsecureSkipVerify: true, // an impostor does not care
		MinVersion:         tls.VersionTLS13, NextProtos: []string{"h2"},
	}}
	c, err := d.DialContext(ctx, "unix", strings.TrimPrefix(target, "unix:"))
	if err != nil {
		return nil, nil, err
	}
	defer c.Close()
	document, err = attestation.ReadDocument(c)
	return document, attestation.KeyHash(c.(*tls.Conn).ConnectionState().PeerCertificates[0]), err
}

// serveAll starts the honest enclave and four impostors. It returns those that it started in any case.
func serveAll(ctx context.Context, dir string, a *attestation.Authority) (all []*server, err error) {
	add := func(id, story string, want error, attest attester) bool {
		var s *server
		if s, err = serve(dir, id, story, want, attest); err == nil {
			all = append(all, s)
		}
		return err == nil
	}
	if !add("honest", "the image that is meant, a key made inside", nil, a.Enclave(moduleID, image)) {
		return all, err
	}
	recorded, key, err := ask(ctx, all[0].target)
	if err != nil {
		return all, err
	}
	expired, err := a.Another(time.Now().Add(-4 * time.Hour)) // its certificate was good for three
	if err != nil {
		return all, err
	}
	_ = add("other-code", "a genuine document, for another image", attestation.ErrCode, a.Enclave(moduleID, otherImage)) &&
		add("replay", "the honest enclave's document, of another connection", attestation.ErrStale,
			func(_, _ []byte) ([]byte, error) { return recorded, nil }) &&
		add("other-key", "a genuine document, for the honest enclave's key", attestation.ErrKey,
			func(_, nonce []byte) ([]byte, error) { return a.Enclave(moduleID, image)(key, nonce) }) &&
		add("expired", "the image that is meant, signed by an expired certificate", attestation.ErrChain, expired.Enclave(moduleID, image))
	return all, err
}
