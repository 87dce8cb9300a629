package gateway

import (
	"context"
	"errors"
	"net/http"

	"google.golang.org/grpc/codes"

	"github.com/enclavepool/enclavepool/routing"
)

// routeBody is where a key belongs.
type routeBody struct {
	KeyID string `json:"key_id"`
	// OwnerID is the enclave that the key belongs to, whatever its state; every gateway with the same enclaves says the
	// same. With a directory it is where the key lives, or, for one that has no place, where it would while all are well;
	// absent: the directory does not answer.
	OwnerID string `json:"owner,omitempty"`
	// EnclaveID is the one that a request for the key would be sent to now. Absent: none, and Reason says why. A key that
	// has no place in the directory has the one that Create would choose, and a Reason.
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
	if b.placed != nil {
		id, err = b.placeOf(ctx, v, id, err, &out)
	}
	if err != nil {
		out.Reason = err.Error()
		return out
	}
	out.EnclaveID = id
	return out
}

// placeOf adds what the directory says. id and err are the selector's answer; those returned are for a key without a place
// as well.
func (b *backend) placeOf(ctx context.Context, v *routing.View, id string, err error, out *routeBody) (string, error) {
	var owner *routing.OwnerError
	switch {
	case err == nil:
		out.OwnerID = id
	case errors.As(err, &owner):
		out.OwnerID = owner.EnclaveID
	case errors.Is(err, routing.ErrNotPlaced):
		out.Reason = err.Error()
		return b.placed.wouldPlace(ctx, v, out.KeyID)
	default:
		out.OwnerID = ""
	}
	return id, err
}
