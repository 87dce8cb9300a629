package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/enclavepool/enclavepool/examples/internal/attestation"
	"github.com/enclavepool/enclavepool/examples/internal/enclave"
)

// settings are what the flags say.
type settings struct {
	listen, control string
	grace           time.Duration
	level           slog.Level
	options         enclave.Options
}

// parse reads the flags; help goes to stdout and is then the error flag.ErrHelp.
func parse(args []string, stdout io.Writer) (settings, error) {
	var s settings
	fs := flag.NewFlagSet("enclave", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // the caller prints the error; the parser would print it as well
	fs.Usage = func() {}
	help := func() {
		fs.SetOutput(stdout)
		fmt.Fprint(stdout, "usage: enclave -listen TARGET [flags]\n\n"+
			"TARGET is vsock:CID:PORT (listens on any CID; with CID 1 for this machine only), unix:/path,\n"+
			"unix-abstract:name or host:port.\n\n")
		fs.PrintDefaults()
	}
	fs.StringVar(&s.listen, "listen", "", "target to serve on; required")
	fs.StringVar(&s.control, "control", "", "target for the HTTP control endpoint (/faults, /drop, /stats); empty: none")
	fs.DurationVar(&s.grace, "grace", 5*time.Second, "time that calls in flight have after SIGTERM or SIGINT")
	fs.TextVar(&s.level, "log-level", slog.LevelInfo, "debug, info, warn or error")
	sign := fs.String("sign", string(enclave.SignReal), `"real" signatures, or "echo": the digest in place of one, for benchmarks`)
	streams := fs.Uint64("stream-limit", enclave.DefaultMaxConcurrentStreams, "streams open at once on one connection, 1 or more; a fault lowers it for a while")
	age := fs.Duration("max-conn-age", 0, "say GOAWAY to each connection at about this age, and let its calls finish; 0: never")
	attest := fs.String("attest", "", "file of a pretended hypervisor's authority (package internal/attestation); empty: plaintext.\n"+
		"The connections are attested TLS: each begins with a document about what runs here")
	image := fs.String("image", "signer", "name of the image that the hypervisor measures, for -attest")
	module := fs.String("module-id", "i-0example-enc0", "name that the hypervisor has for this enclave, for -attest")
	s.options.Faults.Flags(fs)
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			help()
		}
		return s, err
	}
	var errs []error
	if fs.NArg() > 0 {
		errs = append(errs, fmt.Errorf("unexpected argument %q", fs.Arg(0)))
	}
	if s.listen == "" {
		errs = append(errs, errors.New("-listen is missing"))
	}
	if s.grace < 0 {
		errs = append(errs, fmt.Errorf("-grace: %v is not valid: want 0 or more", s.grace))
	}
	if *age < 0 {
		errs = append(errs, fmt.Errorf("-max-conn-age: %v is not valid: want 0 or more", *age))
	}
	if *age > 0 {
		s.options.ServerOptions = append(s.options.ServerOptions, grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: *age}))
	}
	if *streams < 1 || *streams > math.MaxUint32-1 {
		errs = append(errs, fmt.Errorf("-stream-limit: %d is not valid: want 1 to %d", *streams, uint32(math.MaxUint32-1)))
	}
	if *attest != "" {
		authority, err := attestation.LoadAuthority(*attest)
		if err == nil {
			s.options.Credentials, err = attestation.NewCredentials(authority.Enclave(*module, *image))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("-attest: %w", err))
		}
	}
	s.options.Sign = enclave.SignMode(*sign)
	s.options.MaxConcurrentStreams = uint32(*streams)
	return s, errors.Join(errs...)
}
