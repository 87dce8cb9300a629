package enclave

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// maxPatchSize bounds the body of POST /faults, in bytes.
const maxPatchSize = 64 << 10

// Control returns the endpoint that switches faults while the enclave runs:
//
//	GET  /faults              the faults in force, as JSON
//	POST /faults              changes the fields that the JSON object in the body names, and answers
//	                          with all; 400 and no change when any of them is unknown or not valid
//	POST /drop?connections=N  closes N connections now, without N all; answers {"dropped": n}
//	GET  /stats               Stats, as JSON
//
// It asks nobody who they are: serve it where only the operator can reach it.
func (s *Server) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.Faults()) })
	mux.HandleFunc("POST /faults", s.postFaults)
	mux.HandleFunc("POST /drop", s.postDrop)
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, s.Stats()) })
	return mux
}

func (s *Server) postFaults(w http.ResponseWriter, r *http.Request) {
	patch, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPatchSize))
	if err != nil {
		http.Error(w, "reading the body: "+err.Error(), http.StatusBadRequest)
		return
	}
	f, err := s.PatchFaults(patch)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	writeJSON(w, f)
}

func (s *Server) postDrop(w http.ResponseWriter, r *http.Request) {
	n := 0
	if text := r.URL.Query().Get("connections"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 1 {
			http.Error(w, fmt.Sprintf("connections: %q is not valid: want a number from 1, or nothing for all", text), http.StatusBadRequest)
			return
		}
	}
	writeJSON(w, map[string]int{"dropped": s.DropConns(n)})
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // it can only fail when the client has gone
}
