package envconfig

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/enclavepool/enclavepool/pool"
)

// ParseEnclaves reads the value of SIGNER_ENCLAVES:
//
//	enclaves = enclave { "," enclave } [ "," ] .
//	enclave  = ID "=" target { ";" option "=" value } .
//	option   = "min" | "max" | "weight" | "authority" .
//
// for example
//
//	a=vsock:16:5000;min=8;max=16, b=unix:/run/b.sock;weight=2;authority=signer.internal
//
// White space around each part, line ends included, does not count. min and max
// are the enclave's own numbers of connections, in place of the pool's; what is
// left out is as in pool.Enclave. A target with a comma or a semicolon in it
// cannot be written here.
//
// The error joins an *Error for everything that cannot be read. Whether the
// enclaves are valid is for pool.Config.Validate to say.
func ParseEnclaves(s string) ([]pool.Enclave, error) {
	enclaves, problems := parseEnclaves(s)
	if len(problems) > 0 {
		var errs []error
		for _, p := range problems {
			errs = append(errs, p)
		}
		return nil, errors.Join(errs...)
	}
	return enclaves, nil
}

// parseEnclaves returns also the enclaves of which a part is wrong, so that the
// rest of them can be judged.
func parseEnclaves(s string) (enclaves []pool.Enclave, problems []*Error) {
	items := strings.Split(s, ",")
	if strings.TrimSpace(items[len(items)-1]) == "" {
		items = items[:len(items)-1]
	}
	for i, item := range items {
		address, options, _ := strings.Cut(item, ";")
		id, target, ok := strings.Cut(address, "=")
		id, target = strings.TrimSpace(id), strings.TrimSpace(target)
		if !ok || id == "" || target == "" {
			problems = append(problems, &Error{
				Name: enclavesName, Part: fmt.Sprintf("entry %d", i+1), Value: strings.TrimSpace(item),
				Want: "ID=target, such as a=vsock:16:5000",
			})
			continue
		}
		e := pool.Enclave{ID: id, Target: target}
		problems = append(problems, parseOptions(&e, options)...)
		enclaves = append(enclaves, e)
	}
	return enclaves, problems
}

var optionNames = []string{"min", "max", "weight", "authority"}

func parseOptions(e *pool.Enclave, options string) (problems []*Error) {
	if strings.TrimSpace(options) == "" {
		return nil
	}
	given := map[string]bool{}
	for option := range strings.SplitSeq(options, ";") {
		name, value, ok := strings.Cut(option, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		wrong := func(part, value, want string) {
			problems = append(problems, &Error{
				Name: enclavesName, Part: fmt.Sprintf("enclave %q %s", e.ID, part), Value: value, Want: want,
			})
		}
		if !ok || name == "" {
			wrong("option", strings.TrimSpace(option), "name=value, the name one of "+strings.Join(optionNames, ", "))
			continue
		}
		if given[name] {
			wrong(name, value, "to be given once")
			continue
		}
		given[name] = true
		switch name {
		case "min":
			positive(&e.MinConns, name, value, wrong)
		case "max":
			positive(&e.MaxConns, name, value, wrong)
		case "weight":
			positive(&e.Weight, name, value, wrong)
		case "authority":
			if value == "" {
				wrong(name, value, "a host name; leave it out for localhost")
			}
			e.Authority = value
		default:
			closest, _ := nearest(name, optionNames)
			wrong("option", name, fmt.Sprintf("one of %s; the nearest is %s", strings.Join(optionNames, ", "), closest))
		}
	}
	return problems
}

// positive refuses 0, which in a Config stands for a value that is not set.
func positive(p *int, name, value string, wrong func(part, value, want string)) {
	n, err := strconv.Atoi(value)
	if err != nil || n < 1 {
		wrong(name, value, "a whole number of at least 1")
		return
	}
	*p = n
}
