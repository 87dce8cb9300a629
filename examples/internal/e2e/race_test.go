//go:build race

package e2e

// buildArgs build the programs with the race detector, as these tests were.
var buildArgs = []string{"-race"}
