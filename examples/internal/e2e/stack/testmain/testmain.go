// Package testmain is the TestMain of packages whose tests run the example programs.
package testmain

import (
	"context"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
)

// Run finds or builds the programs of those names, with buildArgs for go build, runs the tests, and returns the exit
// code. A goroutine that is left behind is a failure.
func Run(m *testing.M, programs *stack.Programs, buildArgs []string, names ...string) int {
	dir, err := os.MkdirTemp("", "test-bin-")
	if err == nil {
		defer os.RemoveAll(dir)
		say := func(text string) { fmt.Fprintln(os.Stderr, text) }
		*programs, err = stack.Find(context.Background(), dir, say, buildArgs, names...)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}
