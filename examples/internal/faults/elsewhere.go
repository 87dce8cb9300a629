package faults

import "context"

// The rows that need no process of their own: what they are about is inside the library, and is shown by its tests.

var row18 = row{
	number: 18,
	fault:  "wall clock steps ±1 h",
	held:   "no transition",
	how:    "The clock of a machine cannot be stepped for one process.",
	run:    elsewhere("shown with stepped times by TestAStepOfTheWallClockIsNotSeen (package health): only differences of monotonic readings are used"),
}

var row21 = row{
	number: 21,
	fault:  "event subscriber blocks, panics, or calls back into the pool",
	held:   "publisher unaffected",
	how:    "A matter of the inside of one process.",
	run:    elsewhere("shown by TestASubscriberThatIsSlowOrPanicsOrCallsThePoolDisturbsNobody (package pool)"),
}

// elsewhere is a row that is not shown here.
func elsewhere(why string) func(context.Context, *rig, *Result) error {
	return func(_ context.Context, _ *rig, res *Result) error {
		res.notShown("%s", why)
		return nil
	}
}
