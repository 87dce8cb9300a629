package reconcile

import (
	"context"
	"errors"

	"github.com/enclavepool/enclavepool/routing"
)

// Enclave is asked for its keys.
type Enclave interface {
	// ListKeys returns at most limit names of keys, in the order of their bytes, from the given one on, and whether there
	// are more.
	ListKeys(ctx context.Context, from string, limit int) (names []string, more bool, err error)
}

// Config says what to compare.
type Config struct {
	// Directory is compared with the Enclaves, which are named as in the directory.
	Directory routing.Directory
	Enclaves  map[string]Enclave
	// Repair records keys that are not recorded, and corrects places, where exactly one enclave has the key.
	Repair bool
	// Forget takes away the places of keys that no enclave has. Only while no gateway makes keys: one that was recorded
	// and is about to be made looks the same.
	Forget bool
	// Report is called for each difference. Nil: nobody is told.
	Report func(Difference)
	// PageSize is how many names are asked for at once. 0: 1000.
	PageSize int
}

// Kind is what is wrong with a key.
type Kind string

const (
	// Unrecorded: one enclave has the key, and the directory does not know it.
	Unrecorded Kind = "not recorded"
	// Misplaced: one enclave has the key, and the directory says another, which has not.
	Misplaced Kind = "recorded elsewhere"
	// Duplicate: several enclaves have a key of the name. Nothing but the right one of them may sign, and this program
	// cannot tell which that is, unless the directory says one of them.
	Duplicate Kind = "in several enclaves"
	// Unmade: the enclave that the directory says has no such key, and no other has. A Create of the same name makes it.
	Unmade Kind = "recorded and not made"
	// Unasked: the directory says an enclave that could not be asked.
	Unasked Kind = "recorded in an enclave that was not asked"
)

// Difference is a key on which the directory and the enclaves do not agree.
type Difference struct {
	Key  string
	Kind Kind
	// RecordedIn is what the directory said; "": nothing. FoundIn are the enclaves that have the key.
	RecordedIn string
	FoundIn    []string
	// Repaired: the directory is right now. Err says why it could not be repaired; nil where that was not tried.
	Repaired bool
	Err      error
}

// Result is what came of it.
type Result struct {
	// Recorded is how many keys the directory had, Found how many each enclave had.
	Recorded int
	Found    map[string]int
	// Agreed is on how many keys they agreed.
	Agreed int
	// Differences by kind, and how many of them have been repaired.
	Differences map[Kind]int
	Repaired    int
	// Failed are the enclaves that could not be asked to the end, with the reason.
	Failed map[string]error
}

// Left is how many differences there still are. Keys in enclaves that were not asked are none.
func (r Result) Left() int {
	n := -r.Repaired
	for kind, found := range r.Differences {
		if kind != Unasked {
			n += found
		}
	}
	return n
}

// Run compares all keys. An enclave that does not answer is left out; the error says that the directory did not answer,
// or that ctx ended, and Result how far it got.
func Run(ctx context.Context, cfg Config) (Result, error) {
	if cfg.PageSize == 0 {
		cfg.PageSize = 1000
	}
	r := &run{Config: cfg, result: Result{Found: map[string]int{}, Differences: map[Kind]int{}, Failed: map[string]error{}}}
	err := r.walk(ctx)
	return r.result, err
}

// run is one comparison.
type run struct {
	Config
	result Result
}

// errGone says that what was to be repaired has changed meanwhile.
var errGone = errors.New("it has changed meanwhile; compare again")

// report counts a difference.
func (r *run) report(d Difference) {
	r.result.Differences[d.Kind]++
	if d.Repaired {
		r.result.Repaired++
	}
	if r.Report != nil {
		r.Report(d)
	}
}
