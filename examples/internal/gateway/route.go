package gateway

import (
	"context"
	"net/http"

	"google.golang.org/grpc/codes"

	"github.com/enclavepool/enclavepool/routing"
)

// routeBody is where a key belongs.
type routeBody struct {
	KeyID string `json:"key_id"`
	// OwnerID is the enclave that the key belongs to, whatever its state; every gateway with the same enclaves says the
	// same.
	OwnerID string `json:"owner"`
	// EnclaveID is the one that a request for the key would be sent to now. Absent: none, and Reason says why.
	EnclaveID string `json:"enclave_id,omitempty"`
	Reason    string `json:"reason,omitempty"`
}

// routesBody asks for the places of many keys at once: POST /v1/route.
type routesBody struct {
	KeyIDs []string `json:"key_ids"`
}

// routedBody answers it, in the order of the keys.
type routedBody struct {
	Routes []routeBody `json:"routes"`
}

// route serves GET and POST /v1/route, which ask where keys belong and change nothing.
func (g *Gateway) route(w http.ResponseWriter, r *http.Request) {
	answer, err := g.routeAnswer(w, r)
	if err != nil {
		g.writeError(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

func (g *Gateway) routeAnswer(w http.ResponseWriter, r *http.Request) (any, error) {
	v := g.pool.View()
	switch r.Method {
	case http.MethodGet:
		key := r.URL.Query().Get("key_id")
		if key == "" {
			return nil, refuse(codes.InvalidArgument, "key_id is missing: want /v1/route?key_id=…")
		}
		return g.backend.routeOf(r.Context(), v, key), nil
	case http.MethodPost:
		if err := checkContentType(r.Header.Get("Content-Type")); err != nil {
			return nil, err
		}
		var body routesBody
		if err := readJSON(w, r, &body); err != nil {
			return nil, err
		}
		if len(body.KeyIDs) == 0 {
			return nil, refuse(codes.InvalidArgument, "key_ids is missing")
		}
		answer := routedBody{Routes: make([]routeBody, len(body.KeyIDs))}
		for i, key := range body.KeyIDs {
			if key == "" {
				return nil, refuse(codes.InvalidArgument, "key_ids[%d] is empty", i)
			}
			answer.Routes[i] = g.backend.routeOf(r.Context(), v, key)
		}
		return answer, nil
	}
	return nil, notAllowed("GET, POST")
}

// routeOf asks the selector, without a trip: it remembers nothing for that.
func (b *backend) routeOf(ctx context.Context, v *routing.View, key string) routeBody {
	out := routeBody{KeyID: key, OwnerID: ownerOf(ctx, v, key)}
	id, err := b.selector.Select(ctx, v, key)
	if err != nil {
		out.Reason = err.Error()
		return out
	}
	out.EnclaveID = id
	return out
}
