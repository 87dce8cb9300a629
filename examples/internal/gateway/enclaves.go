package gateway

import (
	"errors"
	"fmt"
	"strings"

	"github.com/enclavepool/enclavepool/pool"
)

// ParseEnclaves reads a list such as "a=vsock:16:5000,b=unix:/run/b.sock": entries separated by commas, each an ID
// and a target separated by the first "=", spaces around either ignored. Whether an ID or a target is valid is for
// the pool to say. The error joins one for each bad entry; the good ones are returned all the same.
func ParseEnclaves(list string) ([]pool.Enclave, error) {
	var (
		enclaves []pool.Enclave
		errs     []error
	)
	if strings.TrimSpace(list) == "" {
		return nil, errors.New(`is empty, want at least one "id=target"`)
	}
	for i, entry := range strings.Split(list, ",") {
		id, target, found := strings.Cut(entry, "=")
		id, target = strings.TrimSpace(id), strings.TrimSpace(target)
		if !found || id == "" || target == "" {
			errs = append(errs, fmt.Errorf(`entry %d is %q, want "id=target", such as a=vsock:16:5000`, i+1, strings.TrimSpace(entry)))
			continue
		}
		enclaves = append(enclaves, pool.Enclave{ID: id, Target: target})
	}
	return enclaves, errors.Join(errs...)
}
