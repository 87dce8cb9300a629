package stack

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// helperEnv makes the test binary play a program.
const helperEnv = "STACK_TEST_HELPER"

func TestMain(m *testing.M) {
	switch os.Getenv(helperEnv) {
	case "":
		goleak.VerifyTestMain(m)
	case "serve": // says that it is ready, and ends on request
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM)
		fmt.Println("ready")
		fmt.Println("more", os.Getenv("EXTRA"), os.Args[1:])
		<-stop
		fmt.Println("stopping")
	case "stubborn": // does not end on request
		fmt.Println("ready")
		ignoreRequests()
	case "broken":
		fmt.Fprintln(os.Stderr, "a setting is wrong")
		os.Exit(3)
	case "parent": // starts a child, says its number, and waits to be killed
		os.Setenv(helperEnv, "stubborn")
		p, err := start("child", os.Args[0], os.Args[1], nil)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		<-p.said.line
		fmt.Println(p.cmd.Process.Pid)
		ignoreRequests()
	}
}

// ignoreRequests waits for SIGKILL.
func ignoreRequests() {
	requests := make(chan os.Signal, 1)
	signal.Notify(requests, syscall.SIGTERM)
	for range requests {
	}
}
