package health

import (
	"fmt"
	"time"
)

// Signs are what can be told of a connection without asking the enclave.
type Signs struct {
	// SinceRead is the time since a byte last came from the enclave on this
	// connection, by the monotonic clock. Any byte counts, whatever it says.
	SinceRead time.Duration
	// InFlight counts the calls on the connection that wait for the enclave.
	// Probes are not counted, nor is a warm stream that carries no request:
	// silence is what is expected of it.
	InFlight int
	// Answered: a call on the connection has been answered since the signs were
	// last taken.
	Answered bool
	// Unread says that bytes from the enclave are there which this process has
	// not read yet: it is late, and not the enclave. It matters for a probe that
	// timed out only, and may be false where it cannot be told.
	Unread bool
}

// Result is how a probe ended.
type Result uint8

const (
	// Serving: the enclave answered SERVING.
	Serving Result = iota
	// NotServing: the enclave answered with any other status. It is alive and
	// wants no calls.
	NotServing
	// Unimplemented: the enclave has no health service. Saying so took a round
	// trip like any other answer, so this is worth as much as Serving.
	Unimplemented
	// Failed: the enclave answered with any other error. This is conclusive,
	// whatever else arrives on the connection.
	Failed
	// TimedOut: the probe was handed to the transport and Policy.Timeout passed
	// without an answer. One that waits behind a full socket buffer was handed
	// over, too: a buffer that does not drain is what a frozen enclave looks like.
	TimedOut
	// NotSent: the probe found no free stream on the connection, or could not
	// be made at all, so that its end says nothing about the enclave.
	NotSent
)

var resultNames = [...]string{
	Serving: "serving", NotServing: "not serving", Unimplemented: "unimplemented",
	Failed: "failed", TimedOut: "timed out", NotSent: "not sent",
}

// Results is how many there are, from 0.
const Results = int(NotSent) + 1

// String returns the result in words, for logs.
func (r Result) String() string {
	if int(r) < len(resultNames) {
		return resultNames[r]
	}
	return fmt.Sprintf("result(%d)", uint8(r))
}

// Verdict is what is to be done with a connection.
type Verdict uint8

const (
	// Keep changes nothing.
	Keep Verdict = iota
	// Suspend takes the connection out of rotation and keeps it: calls on it
	// go on, new ones go elsewhere.
	Suspend
	// Restore puts a suspended connection back into rotation.
	Restore
	// Eject closes the connection. It is the Monitor's last word.
	Eject
)

var verdictNames = [...]string{Keep: "keep", Suspend: "suspend", Restore: "restore", Eject: "eject"}

// String returns the verdict in one word, for logs.
func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return fmt.Sprintf("verdict(%d)", uint8(v))
}
