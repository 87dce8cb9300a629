package pool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"

	"github.com/enclavepool/enclavepool/internal/target"
)

// UnixCredentials are the user, group and process that made a unix socket
// listen, as they were at that moment. A process in another user namespace shows
// as the kernel's overflow user, 65534, and one in another PID namespace as 0. A
// listener that was handed over (by systemd, say) shows who opened it.
type UnixCredentials struct {
	UID, GID uint32
	PID      int32
}

// UnixPeer says who may be behind a unix socket. It is about connections over
// unix sockets, hvsock targets included, and has nothing against any other.
//
// What counts is whom the kernel names as the listener of the very connection
// (SO_PEERCRED; Linux only, elsewhere every connection over a unix socket is
// refused). The socket file and the folder that it is in are looked at as well:
// neither may be writable by others, nor by a group outside GIDs, and both must
// belong to one of UIDs or to root. That is advice about a mistake that lets
// others in, and no protection by itself: a path may have changed since it was
// connected to. It is left out for abstract sockets, and where WithDialer has
// targets of its own.
type UnixPeer struct {
	// UIDs are the users who may listen. Empty: the one this process runs as.
	UIDs []uint32
	// GIDs are the groups, one of which the listener must run as (supplementary
	// groups do not count). Empty: any.
	GIDs []uint32
	// AnyFile leaves the socket file and its folder alone.
	AnyFile bool
}

// WithUnixPeer has u.Verify asked about every new connection, like
// WithPeerVerifier, with which it adds up. Default: anybody may listen.
func WithUnixPeer(u UnixPeer) Option { return WithPeerVerifier(u.Verify) }

// Verify is a verifier for WithPeerVerifier: where not all enclaves have the
// same UnixPeer, a verifier of your own chooses by EnclaveID. Its errors say
// what is the case, and what would be right; on other systems than Linux they
// wrap errors.ErrUnsupported.
func (u UnixPeer) Verify(_ context.Context, peer PeerInfo) error {
	t, err := target.Parse(peer.Target)
	known := err == nil
	if _, isUnix := peer.Addr.(*net.UnixAddr); !isUnix && peer.Unix == nil && !(known && (t.Abstract() || t.SocketFile() != "")) {
		return nil
	}
	if peer.Unix == nil {
		return errNoUnixCredentials
	}
	uids := u.UIDs
	if len(uids) == 0 {
		uids = []uint32{uint32(os.Geteuid())}
	}
	if !slices.Contains(uids, peer.Unix.UID) {
		return fmt.Errorf("unix socket: user %d listens (process %d): want one of %d", peer.Unix.UID, peer.Unix.PID, uids)
	}
	if len(u.GIDs) > 0 && !slices.Contains(u.GIDs, peer.Unix.GID) {
		return fmt.Errorf("unix socket: group %d listens (process %d): want one of %d", peer.Unix.GID, peer.Unix.PID, u.GIDs)
	}
	if path := t.SocketFile(); known && path != "" && !u.AnyFile {
		return u.checkFiles(path, uids)
	}
	return nil
}

// checkFiles looks at the socket file and its folder.
func (u UnixPeer) checkFiles(path string, uids []uint32) error {
	file, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("unix socket: %w", err) // it has gone meanwhile, or is being replaced
	}
	if file.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("unix socket %s: a %v: want the socket itself", path, file.Mode().Type())
	}
	folder, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("unix socket: %w", err)
	}
	return errors.Join(u.checkFile(path, file, uids), u.checkFile(filepath.Dir(path), folder, uids))
}

func (u UnixPeer) checkFile(path string, file fs.FileInfo, uids []uint32) error {
	const byGroup, byOthers = 0o020, 0o002
	mode := file.Mode().Perm()
	uid, gid, ok := fileOwner(file)
	switch {
	case !ok:
		return errNoUnixCredentials
	case uid != 0 && !slices.Contains(uids, uid):
		return fmt.Errorf("unix socket: %s belongs to user %d: want one of %d, or root", path, uid, uids)
	case mode&byOthers != 0:
		return fmt.Errorf("unix socket: %s has mode %v: want it not writable by others", path, mode)
	case mode&byGroup != 0 && !slices.Contains(u.GIDs, gid):
		return fmt.Errorf("unix socket: %s has mode %v: want it not writable by group %d, or that group among GIDs %d", path, mode, gid, u.GIDs)
	}
	return nil
}

// errNoUnixCredentials is the refusal where the kernel's word cannot be had.
var errNoUnixCredentials = fmt.Errorf("unix socket: nobody says who listens: that takes Linux, "+
	"and from a WithDialer a connection with SyscallConn: %w", errors.ErrUnsupported)
