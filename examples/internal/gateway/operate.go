package gateway

import (
	"context"
	"errors"
	"net/http"
	"time"

	"google.golang.org/grpc/codes"
)

// operateTimeout is how long a drain is waited for; it goes on after that.
const operateTimeout = 8 * time.Second

// operated answers an operator.
type operated struct {
	EnclaveID string `json:"enclave_id"`
	Action    string `json:"action"`
	// Left says what is still in flight, where a drain is not over yet.
	Left string `json:"left,omitempty"`
}

// operate serves POST /debug/enclave?id=a&action=drain, and resume, cordon and uncordon, of this gateway alone. Keys are
// not moved by it. It is no page's to call: what comes from a browser, which always says its origin, is refused.
func (g *Gateway) operate(w http.ResponseWriter, r *http.Request) {
	id, action := r.URL.Query().Get("id"), r.URL.Query().Get("action")
	if r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "" {
		g.writeError(w, r, refuse(codes.PermissionDenied, "not for browsers"))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), operateTimeout)
	defer cancel()
	answer := operated{EnclaveID: id, Action: action}
	var err error
	switch action {
	case "drain":
		err = g.pool.Drain(ctx, id)
		if err != nil && errors.Is(err, ctx.Err()) {
			answer.Left, err = err.Error(), nil
		}
	case "resume":
		err = g.pool.Resume(id)
	case "cordon":
		err = g.pool.Cordon(id)
	case "uncordon":
		err = g.pool.Uncordon(id)
	default:
		err = refuse(codes.InvalidArgument, "action is %q: want drain, resume, cordon or uncordon", action)
	}
	if err != nil {
		g.writeError(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, answer)
}
