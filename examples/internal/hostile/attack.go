package hostile

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/net/http2"
)

// outcome is what has to become of the hostile enclave.
type outcome int

const (
	// never: none of its connections is ever admitted.
	never outcome = iota
	// thrownOut: connections on which the attack began are closed; others are dialled in their place, now or later.
	thrownOut
	// harmless: it may stay, since it wastes nothing but its own streams.
	harmless
)

var outcomeNames = [...]string{
	never: "never admitted", thrownOut: "its connections are thrown out",
	harmless: "it wastes only its own streams",
}

func (o outcome) String() string { return outcomeNames[o] }

// attack is one way of being hostile. Every connection of the enclave does the same.
type attack struct {
	name string
	does string // in words
	held outcome
	// late: the enclave behaves until it has been admitted, for a moment; else it never does.
	late bool
	// first is what it says in the SETTINGS that begin every connection.
	first []http2.Setting
	// slow: what is held takes longer than most, since the enclave seems to be alive.
	slow bool
	// run is what it does once the attack begins, in a goroutine of its own; nil: nothing.
	run func(*peer)
	// answer is how streams are answered from then on, health checks among them unless probesWell; nil: well.
	answer     func(*peer, request)
	probesWell bool
	// deaf: from then on it reads nothing.
	deaf bool
	// raw: it does not even start to speak HTTP/2; run is everything.
	raw bool
}

// moment is how long an enclave behaves after it has been admitted.
const moment = 60 * time.Millisecond

// attacks are all of them.
func attacks() []attack { return slices.Concat(earlyAttacks, lateAttacks, streamAttacks) }

// Names are the names of all attacks.
func Names() []string {
	var out []string
	for _, a := range attacks() {
		out = append(out, a.name)
	}
	return out
}

// Group returns the names of a group of attacks: early, late, streams. Nil: there is no such group.
func Group(name string) (names []string) {
	for _, a := range map[string][]attack{"early": earlyAttacks, "late": lateAttacks, "streams": streamAttacks}[name] {
		names = append(names, a.name)
	}
	return names
}

// find returns the attack of that name.
func find(name string) (attack, error) {
	for _, a := range attacks() {
		if a.name == name {
			return a, nil
		}
	}
	return attack{}, fmt.Errorf("attack %q is not valid: want one of %q", name, Names())
}
