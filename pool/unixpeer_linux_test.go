package pool_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/pooltest"
)

// serveAt serves at a unix socket, or "@" and an abstract name.
func serveAt(t *testing.T, address string) {
	t.Helper()
	lis, err := net.Listen("unix", address)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, lis)
}

func serve(t *testing.T, lis net.Listener, opts ...grpc.ServerOption) {
	srv := grpc.NewServer(opts...)
	(&service{}).register(srv)
	grpc_health_v1.RegisterHealthServer(srv, health.NewServer())
	served := make(chan error, 1)
	go func() { served <- srv.Serve(lis) }()
	t.Cleanup(func() { srv.Stop(); <-served })
}

// narrow is a folder for this user alone with a socket for this user alone.
func narrow(t *testing.T) (folder, socket string) {
	t.Helper()
	folder = filepath.Join(t.TempDir(), "d")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	socket = filepath.Join(folder, "s")
	serveAt(t, socket)
	if err := os.Chmod(socket, 0o600); err != nil {
		t.Fatal(err)
	}
	return folder, socket
}

func me() (uid, gid uint32) { return uint32(os.Geteuid()), uint32(os.Getegid()) }

func TestTheUnixPeerIsWhomTheKernelNames(t *testing.T) {
	uid, gid := me()
	for name, tt := range map[string]struct {
		peer    pool.UnixPeer
		prepare func(folder, socket string) error
		wrong   string // in the refusal; empty: it is admitted
	}{
		"by default this user":      {},
		"this user and group":       {peer: pool.UnixPeer{UIDs: []uint32{uid + 1, uid}, GIDs: []uint32{gid}}},
		"another user":              {peer: pool.UnixPeer{UIDs: []uint32{uid + 1}}, wrong: fmt.Sprintf("user %d listens", uid)},
		"another group":             {peer: pool.UnixPeer{GIDs: []uint32{gid + 1}}, wrong: fmt.Sprintf("group %d listens", gid)},
		"a socket others may write": {prepare: func(_, s string) error { return os.Chmod(s, 0o602) }, wrong: "not writable by others"},
		"a folder others may write": {prepare: func(f, _ string) error { return os.Chmod(f, 0o1707) }, wrong: "not writable by others"},
		"a socket a group may write": {prepare: func(_, s string) error { return os.Chmod(s, 0o660) },
			wrong: fmt.Sprintf("not writable by group %d", gid)},
		"a socket that its own group may write": {peer: pool.UnixPeer{GIDs: []uint32{gid}},
			prepare: func(_, s string) error { return os.Chmod(s, 0o660) }},
		"a symbolic link to the socket": {prepare: func(f, s string) error {
			return errors.Join(os.Rename(s, filepath.Join(f, "else")), os.Symlink("else", s))
		}, wrong: "want the socket itself"},
		"files are not looked at": {peer: pool.UnixPeer{AnyFile: true}, prepare: func(f, s string) error {
			return errors.Join(os.Chmod(f, 0o777), os.Chmod(s, 0o666))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			folder, socket := narrow(t)
			if tt.prepare != nil {
				if err := tt.prepare(folder, socket); err != nil {
					t.Fatal(err)
				}
			}
			cfg := socketConfig()
			cfg.Enclaves = []pool.Enclave{{ID: "a", Target: "unix:" + socket}}
			p := newPool(t, cfg, pool.WithUnixPeer(tt.peer))
			if tt.wrong == "" {
				ready(t, p)
				everyKindOfCall(within(t, patience), t, client(p, "a"))
				return
			}
			refused(t, p, tt.wrong)
		})
	}
}

// refused waits until every attempt of "a" has been refused, for the reason.
func refused(t *testing.T, p *pool.Pool, reason string) {
	t.Helper()
	eventually(t, "the peer is refused", func() bool { return stats(p, "a").Cause != nil })
	s := stats(p, "a")
	if !errors.Is(s.Cause, pool.ErrPeerRejected) || !strings.Contains(s.Cause.Error(), reason) || s.HealthyConns != 0 {
		t.Errorf("%d Healthy, cause %v; want ErrPeerRejected and %q", s.HealthyConns, s.Cause, reason)
	}
}

// Another user's process listens at the path that was configured: an impostor
// that the file system let in.
func TestAnotherUsersProcessAtTheSameSocketIsRefused(t *testing.T) {
	const variable, nobody = "ENCLAVEPOOL_IMPOSTOR", 65534
	if path := os.Getenv(variable); path != "" {
		lis, err := net.Listen("unix", path)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		serve(t, lis)
		fmt.Println("ready")
		_, _ = io.Copy(io.Discard, os.Stdin) // until the test ends
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can start a process of another user")
	}
	dir, err := os.MkdirTemp("", "e")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(filepath.Join(dir, "d"), 0o700), os.Chown(filepath.Join(dir, "d"), nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "impostor") // where that user may execute it
	if err := copyFile(os.Args[0], program); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "d", "s")
	impostor := exec.Command(program, "-test.run=^"+t.Name()+"$")
	impostor.Dir = dir
	impostor.Env = append(os.Environ(), variable+"="+socket)
	impostor.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	stdin, err := impostor.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := impostor.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := impostor.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_, _ = io.Copy(io.Discard, stdout)
		if err := impostor.Wait(); err != nil {
			t.Errorf("the impostor: %v", err)
		}
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "ready\n" {
		t.Fatalf("the impostor says %q, %v", line, err)
	}
	cfg := socketConfig()
	cfg.Enclaves = []pool.Enclave{{ID: "a", Target: "unix:" + socket}}
	refused(t, newPool(t, cfg, pool.WithUnixPeer(pool.UnixPeer{})), "user 65534 listens")
	// The files say the same to whoever lets any user listen.
	refused(t, newPool(t, cfg, pool.WithPeerVerifier(func(ctx context.Context, peer pool.PeerInfo) error {
		peer.Unix = &pool.UnixCredentials{}
		return pool.UnixPeer{}.Verify(ctx, peer)
	})), "belongs to user 65534")
	p := newPool(t, cfg, pool.WithUnixPeer(pool.UnixPeer{UIDs: []uint32{nobody}, GIDs: []uint32{nobody}}))
	ready(t, p)
	everyKindOfCall(within(t, patience), t, client(p, "a"))
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o755)
}

func TestAbstractSocketsAreWarnedAboutUnlessSomebodyLooksWhoListens(t *testing.T) {
	name := strings.ReplaceAll(t.TempDir(), "/", "-")
	serveAt(t, "@"+name)
	for _, tt := range []struct {
		opts  []pool.Option
		warns int
	}{{nil, 1}, {[]pool.Option{pool.WithUnixPeer(pool.UnixPeer{})}, 0}} {
		var log logBuffer
		cfg := socketConfig()
		cfg.Enclaves = []pool.Enclave{{ID: "a", Target: "unix-abstract:" + name}}
		p := newPool(t, cfg, append(tt.opts, pool.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))...)
		ready(t, p)
		if err := p.Update(cfg); err != nil {
			t.Error(err)
		}
		if n := strings.Count(log.String(), "level=WARN"); n != tt.warns || strings.Count(log.String(), "abstract unix socket") != tt.warns {
			t.Errorf("%d warnings, want %d:\n%s", n, tt.warns, log.String())
		}
	}
	uid, _ := me()
	cfg := socketConfig()
	cfg.Enclaves = []pool.Enclave{{ID: "a", Target: "unix-abstract:" + name}}
	refused(t, newPool(t, cfg, pool.WithUnixPeer(pool.UnixPeer{UIDs: []uint32{uid + 1}})), "listens")
}

// hidden is a connection that does not show its socket.
type hidden struct{ net.Conn }

func TestAUnixSocketThatShowsNobodyIsRefusedAndOtherConnectionsAreNotItsBusiness(t *testing.T) {
	_, socket := narrow(t)
	cfg := socketConfig()
	cfg.Enclaves = []pool.Enclave{{ID: "a", Target: "unix:" + socket}}
	p := newPool(t, cfg, pool.WithUnixPeer(pool.UnixPeer{}), pool.WithDialer(func(ctx context.Context, _ string) (net.Conn, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, "unix", socket)
		return hidden{c}, err
	}))
	refused(t, p, "WithDialer")
	if err := stats(p, "a").Cause; !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("the cause is %v, want ErrUnsupported among it", err)
	}

	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, lis)
	cfg.Enclaves = []pool.Enclave{{ID: "a", Target: lis.Addr().String()}}
	ready(t, newPool(t, cfg, pool.WithUnixPeer(pool.UnixPeer{UIDs: []uint32{4294967295}})))
	synctest.Test(t, func(t *testing.T) {
		memoryPool(t, &service{}, nil, pool.WithUnixPeer(pool.UnixPeer{UIDs: []uint32{4294967295}}))
	})
}

// The kernel's word is about the socket, below TLS.
func TestTheUnixPeerIsCheckedUnderTLS(t *testing.T) {
	serverTLS, clientTLS := tlsConfigs(t, "localhost")
	e := pooltest.Start(t, (&service{}).register, pooltest.WithServerOptions(grpc.Creds(credentials.NewTLS(serverTLS))))
	uid, _ := me()
	trusting := pool.WithTransportCredentials(credentials.NewTLS(clientTLS))
	ready(t, newPool(t, socketConfig(e), trusting, pool.WithUnixPeer(pool.UnixPeer{AnyFile: true})))
	refused(t, newPool(t, socketConfig(e), trusting, pool.WithUnixPeer(pool.UnixPeer{UIDs: []uint32{uid + 1}})), "listens")
}
