package main

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.etcd.io/etcd/client/pkg/v3/transport"

	"github.com/enclavepool/enclavepool/examples/internal/gateway"
)

// directoryFlags are those about the placement directory.
type directoryFlags struct {
	where, cache, ca, cert, key *string
}

const wantDirectory = "memory, bolt:FILE or etcd:ENDPOINT,ENDPOINT,…"

// maxCache is the greatest number that routing.WithCacheSize takes.
const maxCache = 1 << 27

func addDirectoryFlags(fs *flag.FlagSet) directoryFlags {
	return directoryFlags{
		where: fs.String("directory", "", "where it is written down which enclave each key lives in, in the place of "+envDirectory+":\n"+
			"memory (gone with the process), bolt:FILE (one gateway has it at a time) or etcd:ENDPOINT,… (shared by\n"+
			"gateways). Empty and "+envDirectory+" as well: "+gateway.DefaultDirectory+", in the folder it is started in"),
		cache: fs.String("directory-cache", strconv.Itoa(gateway.DefaultDirectoryCache), "how many keys' places are kept in memory; those are served while an etcd is away"),
		ca:    fs.String("etcd-ca", "", "file with the authorities of the etcd's certificates; empty: the system's"),
		cert:  fs.String("etcd-cert", "", "file with the certificate that is shown to the etcd; empty: none"),
		key:   fs.String("etcd-key", "", "file with its key"),
	}
}

// given is the first of the flags that was set; "": none.
func (f directoryFlags) given(fs *flag.FlagSet) (name string) {
	fs.Visit(func(set *flag.Flag) {
		if name == "" && slices.Contains([]string{"directory", "directory-cache", "etcd-ca", "etcd-cert", "etcd-key"}, set.Name) {
			name = "-" + set.Name
		}
	})
	return name
}

// parse reads what was set; the flag wins over the environment. The error joins one for each that is not valid.
func (f directoryFlags) parse(environ []string) (*gateway.Directory, int, error) {
	name, value := "-directory", *f.where
	if value == "" {
		name, value = envDirectory, lookup(environ, envDirectory)
	}
	if value == "" {
		value = gateway.DefaultDirectory
	}
	var errs []error
	d, err := gateway.ParseDirectory(value)
	if err != nil {
		errs = append(errs, invalid(name, value, wantDirectory+": "+err.Error()))
	}
	cache, err := strconv.Atoi(*f.cache)
	if err != nil || cache < 1 || cache > maxCache {
		errs = append(errs, invalid("-directory-cache", *f.cache, fmt.Sprintf("a number from 1 to %d", maxCache)))
	}
	if *f.ca != "" || *f.cert != "" || *f.key != "" {
		d.TLS, err = transport.TLSInfo{TrustedCAFile: *f.ca, CertFile: *f.cert, KeyFile: *f.key}.ClientConfig()
		if err != nil {
			errs = append(errs, fmt.Errorf("-etcd-ca, -etcd-cert, -etcd-key: %w", err))
		}
	}
	return &d, cache, errors.Join(errs...)
}

// lookup is the last value that environ has for a name.
func lookup(environ []string, name string) (value string) {
	for _, e := range environ {
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			value = strings.TrimSpace(v)
		}
	}
	return value
}
