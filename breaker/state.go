package breaker

import (
	"fmt"
	"time"
)

// State is the condition of a connection, or of an enclave as a whole.
//
// The zero value is Healthy.
type State uint8

const (
	// Healthy carries calls. An enclave is Healthy while at least one of its
	// connections is.
	Healthy State = iota
	// Degraded carries no new calls: it is lost, or has failed its probes, and
	// is being brought back.
	Degraded
	// Draining carries what it has to the end and nothing new.
	Draining
)

var stateNames = [...]string{Healthy: "healthy", Degraded: "degraded", Draining: "draining"}

// String returns the state's name in lower case, as it stands in logs and metrics.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// MarshalText returns the same name as String.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText writes; any other text is an error and
// leaves s as it was.
func (s *State) UnmarshalText(text []byte) error {
	for i, name := range stateNames {
		if name == string(text) {
			*s = State(i)
			return nil
		}
	}
	return fmt.Errorf("breaker: state %q is unknown; valid: healthy, degraded, draining", text)
}

// Event reports one change of state.
type Event struct {
	EnclaveID string
	// Conn is the index of the connection among the enclave's, from 0; -1
	// where the event is about the enclave as a whole.
	Conn int
	// Seq grows strictly from event to event of one enclave.
	Seq      uint64
	From, To State
	// Signal is the kind of what happened.
	Signal Signal
	// At is when the change was made; it carries a monotonic reading, so the
	// time between two events does not see steps of the wall clock.
	At time.Time
	// Cause is why; nil when nothing went wrong (a first connection, an
	// operator's wish).
	Cause error
}
