package gateway

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/enclavepool/enclavepool/breaker"
	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/routing"
)

// readiness is the answer of /readyz.
type readiness struct {
	// Status is "ready", "not_ready" while an enclave is missing or the directory has not been read, or "stopping".
	Status string `json:"status"`
	// Directory is "stale" or "expired" (routing.PlacedState). Absent: it is current, or there is none. Not having read it yet
	// is a reason not to be ready; that it is away later on is none, since the keys that are known are served.
	Directory string `json:"directory,omitempty"`
	// Missing are the enclaves that are not Healthy, by ID.
	Missing []missing `json:"missing,omitempty"`
}

// missing is an enclave without a Healthy connection.
type missing struct {
	EnclaveID    string        `json:"enclave_id"`
	State        breaker.State `json:"state"`
	Since        time.Time     `json:"since"`
	HealthyConns int           `json:"healthy_conns"`
	MinConns     int           `json:"min_conns"`
	Cause        string        `json:"cause,omitempty"`
}

// readinessOf says ready when every enclave has at least one Healthy connection.
func readinessOf(stats pool.Stats) readiness {
	r := readiness{Status: "ready"}
	for id, e := range stats.Enclaves {
		if e.State == breaker.Healthy {
			continue
		}
		m := missing{EnclaveID: id, State: e.State, Since: e.Since, HealthyConns: e.HealthyConns, MinConns: e.MinConns}
		if e.Cause != nil {
			m.Cause = e.Cause.Error()
		}
		r.Status, r.Missing = "not_ready", append(r.Missing, m)
	}
	slices.SortFunc(r.Missing, func(a, b missing) int { return strings.Compare(a.EnclaveID, b.EnclaveID) })
	return r
}

// healthz answers as long as the process does.
func (g *Gateway) healthz(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "alive"})
}

// readyz answers 200 or 503, and names what is missing.
func (g *Gateway) readyz(w http.ResponseWriter, _ *http.Request) {
	r := readinessOf(g.pool.Stats())
	if g.placed != nil {
		if state := g.placed.Stats().State; state != routing.PlacedCurrent {
			r.Directory = state.String()
		}
		if !g.placed.isReady() {
			r.Status = "not_ready"
		}
	}
	if g.isStopping() {
		r.Status = "stopping"
	}
	code := http.StatusOK
	if r.Status != "ready" {
		code = http.StatusServiceUnavailable
	}
	writeJSON(w, code, r)
}
