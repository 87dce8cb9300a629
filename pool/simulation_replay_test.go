package pool_test

import (
	"os"
	"os/exec"
	"regexp"
	"slices"
	"testing"
)

// A simulation in which an invariant breaks names its seed, and that seed breaks
// the same one again at the same call.
func TestASimulationThatFailsNamesItsSeedAndReplaysFromIt(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs this program twice")
	}
	run := func(args ...string) string {
		args = append([]string{"-test.run=^TestTheInvariantsHoldThroughADayOfRandomFaults$", "-sim.lie=2", "-sim.time=4h"}, args...)
		out, err := exec.Command(os.Args[0], args...).CombinedOutput()
		if err == nil {
			t.Fatalf("nothing was found to be wrong:\n%s", out)
		}
		return string(out)
	}
	broken := regexp.MustCompile(`call \d+ was executed 2 times`)
	first := run("-sim.seeds=2")
	replay := regexp.MustCompile(`replay with: go test ./pool -run RandomFaults (-sim\.seed) (\d+) `).FindStringSubmatch(first)
	if replay == nil || replay[2] != "2" {
		t.Fatalf("it does not name seed 2:\n%s", first)
	}
	again := run(replay[1] + "=" + replay[2])
	one, two := broken.FindAllString(first, -1), broken.FindAllString(again, -1)
	if len(one) == 0 || !slices.Equal(one, two) {
		t.Errorf("at first %q, and in the replay %q", one, two)
	}
}
