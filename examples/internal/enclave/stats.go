package enclave

import (
	"sync/atomic"
	"time"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	signerv1 "github.com/enclavepool/enclavepool/examples/signer/v1"
)

// Stats is a snapshot of what the enclave has done since it started.
type Stats struct {
	// ServingSince is when the enclave began to accept connections, by the system's clock; zero: it has not.
	ServingSince time.Time `json:"serving_since,omitzero"`
	// ConnectionsOpen is the number of connections open now.
	ConnectionsOpen int `json:"connections_open"`
	// ConnectionsAccepted counts all connections, those dropped at once included.
	ConnectionsAccepted uint64 `json:"connections_accepted"`
	// ConnectionsDropped counts connections that faults closed.
	ConnectionsDropped uint64 `json:"connections_dropped"`
	// StreamsReset counts streams that faults reset.
	StreamsReset uint64 `json:"streams_reset"`
	// RPCs counts calls by full method, a SignStream once, when it is opened.
	RPCs map[string]uint64 `json:"rpcs"`
	// Exchanges counts messages received on SignStreams.
	Exchanges uint64 `json:"exchanges"`
	// Signatures counts signatures made, echoed digests included.
	Signatures uint64 `json:"signatures"`
	// Keys is the number of keys held now.
	Keys int `json:"keys"`
}

// methods are the calls that are counted; the server has no others.
var methods = [...]string{
	signerv1.SignerService_Create_FullMethodName,
	signerv1.SignerService_Sign_FullMethodName,
	signerv1.SignerService_SignStream_FullMethodName,
	signerv1.InventoryService_ListKeys_FullMethodName,
	healthpb.Health_Check_FullMethodName,
	healthpb.Health_List_FullMethodName,
	healthpb.Health_Watch_FullMethodName,
}

// counters are the counts behind Stats.
type counters struct {
	accepted, dropped, resets, exchanges, signatures atomic.Uint64
	rpcs                                             [len(methods)]atomic.Uint64
}

func (c *counters) rpc(method string) {
	for i, m := range methods {
		if m == method {
			c.rpcs[i].Add(1)
			return
		}
	}
}

// Stats returns a snapshot.
func (s *Server) Stats() Stats {
	st := Stats{
		ConnectionsAccepted: s.count.accepted.Load(),
		ConnectionsDropped:  s.count.dropped.Load(),
		StreamsReset:        s.count.resets.Load(),
		RPCs:                make(map[string]uint64),
		Exchanges:           s.count.exchanges.Load(),
		Signatures:          s.count.signatures.Load(),
		Keys:                s.keys.len(),
	}
	if at := s.serving.Load(); at != nil {
		st.ServingSince = *at
	}
	for i, m := range methods {
		if n := s.count.rpcs[i].Load(); n > 0 {
			st.RPCs[m] = n
		}
	}
	s.mu.Lock()
	st.ConnectionsOpen = len(s.conns)
	s.mu.Unlock()
	return st
}
