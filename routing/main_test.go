package routing_test

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// askedFor is set in the process that TestTwoProcessesChooseTheSame starts.
const askedFor = "ROUTING_TEST_PRINT_DIGEST"

func TestMain(m *testing.M) {
	if os.Getenv(askedFor) != "" {
		fmt.Print(digest())
		os.Exit(0)
	}
	flag.Parse()
	goleak.VerifyTestMain(m)
}
