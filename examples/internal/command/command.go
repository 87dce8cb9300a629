// Package command is what the example commands have in common: exit codes, signals, and flags of which all that are
// wrong are reported together.
package command

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes.
const (
	Fine        = 0
	Failed      = 1 // what the command is for did not succeed, or did not hold
	BadFlags    = 2
	Interrupted = 130
)

// Context ends when the process is told to stop. A second signal ends the process at once, and its children with it.
func Context() context.Context {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	return ctx
}

// Flags is a set of flags that remembers what is wrong with them.
type Flags struct {
	*flag.FlagSet
	help     string
	problems []error
}

// New returns flags for the command of that name. help is printed before the list of flags and ends in an empty line.
func New(name, help string) *Flags {
	f := &Flags{FlagSet: flag.NewFlagSet(name, flag.ContinueOnError), help: help}
	f.SetOutput(io.Discard) // the caller prints the error; the parser would print it as well
	f.Usage = func() {}
	return f
}

// Value adds a flag whose default is what p points to. Parsing goes on after a bad value.
func Value[T any](f *Flags, p *T, name, usage, want string, parse func(string) (T, error)) {
	f.Func(name, fmt.Sprintf("%s; %s (default %v)", usage, want, *p), func(s string) error {
		v, err := parse(s)
		if err != nil {
			f.Invalid(name, fmt.Sprintf("%q", s), want)
			return nil
		}
		*p = v
		return nil
	})
}

// Parse reads the flags. Help goes to stdout and is then the error flag.ErrHelp; the only other error is of a flag that
// cannot be read, which hides what comes after it. What is wrong beside that is Err's.
func (f *Flags) Parse(args []string, stdout io.Writer) error {
	switch err := f.FlagSet.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, f.help)
		f.SetOutput(stdout)
		f.PrintDefaults()
		return err
	case err != nil:
		f.Add(err)
		return f.Err()
	}
	if f.NArg() > 0 {
		f.Add(fmt.Errorf("unexpected argument %q", f.Arg(0)))
	}
	return nil
}

// Check remembers that the value of a flag is not valid, unless ok.
func (f *Flags) Check(ok bool, name string, value any, want string) {
	if !ok {
		f.Invalid(name, value, want)
	}
}

// Invalid remembers that the value of a flag is not valid.
func (f *Flags) Invalid(name string, value any, want string) {
	f.Add(fmt.Errorf("-%s: %v is not valid: want %s", name, value, want))
}

// Add remembers a problem; nil is none.
func (f *Flags) Add(problem error) { f.problems = append(f.problems, problem) }

// Err returns all problems, joined.
func (f *Flags) Err() error { return errors.Join(f.problems...) }

// Refused returns the exit code for what reading the flags returned, which is printed unless it was help.
func Refused(name string, err error, stderr io.Writer) int {
	if errors.Is(err, flag.ErrHelp) {
		return Fine
	}
	fmt.Fprintf(stderr, "%s: %v\n", name, err)
	return BadFlags
}
