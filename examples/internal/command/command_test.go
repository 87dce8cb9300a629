package command_test

import (
	"errors"
	"flag"
	"os"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/enclavepool/enclavepool/examples/internal/command"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func parse(args ...string) (n int, help string, err error) {
	f := command.New("try", "usage: try\n\n")
	n = 4
	command.Value(f, &n, "n", "how many", "a whole number", strconv.Atoi)
	f.Bool("b", false, "a switch")
	var out strings.Builder
	if err = f.Parse(args, &out); err == nil {
		f.Check(n < 10, "n", n, "less than 10")
		err = f.Err()
	}
	return n, out.String(), err
}

func TestAllThatIsWrongIsReportedTogether(t *testing.T) {
	_, _, err := parse("-n", "x", "-n", "12", "y")
	want := "-n: \"x\" is not valid: want a whole number\nunexpected argument \"y\"\n-n: 12 is not valid: want less than 10"
	if err == nil || err.Error() != want {
		t.Errorf("%v\nwant\n%s", err, want)
	}
	var errs strings.Builder
	if code := command.Refused("try", err, &errs); code != command.BadFlags || errs.String() != "try: "+want+"\n" {
		t.Errorf("%d, %q", code, errs.String())
	}
}

func TestAFlagThatDoesNotExistIsReportedWithWhatCameBefore(t *testing.T) {
	if _, _, err := parse("-n", "x", "-z"); err == nil || !strings.Contains(err.Error(), `"x"`) || !strings.Contains(err.Error(), "-z") {
		t.Errorf("%v", err)
	}
}

func TestGoodFlagsAreTaken(t *testing.T) {
	if n, help, err := parse("-b", "-n", "7"); n != 7 || help != "" || err != nil {
		t.Errorf("%d, %q, %v", n, help, err)
	}
}

func TestHelpIsNoError(t *testing.T) {
	_, help, err := parse("-h")
	if !errors.Is(err, flag.ErrHelp) || !strings.HasPrefix(help, "usage: try\n\n") || !strings.Contains(help, "(default 4)") {
		t.Errorf("%q, %v", help, err)
	}
	if code := command.Refused("try", err, os.Stderr); code != command.Fine {
		t.Errorf("exit code %d", code)
	}
}
