package enclave

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// SignMode says how Sign makes signatures.
type SignMode string

const (
	// SignReal makes real signatures.
	SignReal SignMode = "real"
	// SignEcho answers with the digest in place of the signature, so that a benchmark measures the way
	// to the enclave and not the arithmetic inside. Such signatures do not verify.
	SignEcho SignMode = "echo"
)

// DefaultMaxConcurrentStreams is the stream limit of a connection when Options names none.
const DefaultMaxConcurrentStreams = 128

// Options are the settings of a Server. The zero value is a working enclave without faults.
type Options struct {
	// Sign is the way signatures are made. Empty: SignReal.
	Sign SignMode
	// MaxConcurrentStreams is the greatest number of streams open at once on one connection; the server
	// advertises it and refuses what exceeds it. 0: DefaultMaxConcurrentStreams.
	MaxConcurrentStreams uint32
	// Faults are in force from the start. Zero: none.
	Faults Faults
	// KeepaliveMinTime is the shortest time between a client's keepalive pings that is not answered by
	// GOAWAY too_many_pings. 0: 10s, below the pool's keepalive of 30s.
	KeepaliveMinTime time.Duration
	// Logger gets faults that were switched and connections that were dropped. Nil: nobody does.
	Logger *slog.Logger
	// Credentials secure the connections. Nil: plaintext.
	Credentials credentials.TransportCredentials
	// ServerOptions are added to the gRPC server's own. Credentials and a tap handle must not be among
	// them: the server needs those places to see its connections.
	ServerOptions []grpc.ServerOption
}

// withDefaults returns the options with every default filled in, or all that is wrong with them.
func (o Options) withDefaults() (Options, error) {
	var errs []error
	switch o.Sign {
	case "":
		o.Sign = SignReal
	case SignReal, SignEcho:
	default:
		errs = append(errs, fmt.Errorf("sign: %q is not valid: want %q or %q", o.Sign, SignReal, SignEcho))
	}
	if o.MaxConcurrentStreams == 0 {
		o.MaxConcurrentStreams = DefaultMaxConcurrentStreams
	}
	if o.KeepaliveMinTime < 0 {
		errs = append(errs, fmt.Errorf("keepalive_min_time: %v is not valid: want 0 or more", o.KeepaliveMinTime))
	}
	if o.KeepaliveMinTime == 0 {
		o.KeepaliveMinTime = 10 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	o.Faults = o.Faults.withDefaults()
	errs = append(errs, o.Faults.validate(o.MaxConcurrentStreams))
	return o, errors.Join(errs...)
}
