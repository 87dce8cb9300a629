package breaker

import "fmt"

// Signal is what happened to a connection, or to an enclave as a whole.
type Signal uint8

const (
	// Admitted: a fresh connection has passed its check; for an enclave, the
	// first one that callers may use.
	Admitted Signal = iota
	// Restored: a suspended connection says again that it is serving.
	Restored
	// Lost: the transport ended.
	Lost
	// Ejected: health probes failed until the threshold was reached.
	Ejected
	// Suspended: the enclave said NOT_SERVING.
	Suspended
	// Retired: no longer needed, replaced at its age, or being drained.
	Retired
	// Resumed: a drain was taken back.
	Resumed
)

var signalNames = [...]string{
	Admitted: "admitted", Restored: "restored", Lost: "lost", Ejected: "ejected",
	Suspended: "suspended", Retired: "retired", Resumed: "resumed",
}

// String returns the signal in one word, as it stands in logs.
func (s Signal) String() string {
	if int(s) < len(signalNames) {
		return signalNames[s]
	}
	return fmt.Sprintf("signal(%d)", uint8(s))
}

// Next returns the state that follows s when sig happens. It is the whole state
// machine, of connections and of enclaves:
//
//	         Admitted, Restored
//	Degraded ─────────────────▶ Healthy
//	   ▲ ▲  ◀─────────────────    │
//	   │    Lost, Ejected,        │ Retired
//	   │    Suspended             ▼
//	   └──────── Resumed ───── Draining
//
// Draining is an operator's wish, so nothing but Resumed ends it: what is lost
// while it drains is still draining, and what comes up is not used.
func Next(s State, sig Signal) State {
	switch {
	case s == Draining && sig == Resumed:
		return Degraded
	case s == Draining:
		return Draining
	case sig == Retired:
		return Draining
	case sig == Admitted, sig == Restored:
		return Healthy
	case sig == Lost, sig == Ejected, sig == Suspended:
		return Degraded
	}
	return s
}
