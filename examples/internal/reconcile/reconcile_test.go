package reconcile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/enclavepool/enclavepool/routing"
	"github.com/enclavepool/enclavepool/routing/memdir"
	"github.com/enclavepool/enclavepool/routing/routingtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ctx = context.Background()

// fake has keys, answers at most times-times (0: always), and runs before each answer what a test wants to happen then.
type fake struct {
	keys   map[string]bool
	times  int
	before func(from string)
}

var errAway = errors.New("away")

func (f *fake) ListKeys(_ context.Context, from string, limit int) ([]string, bool, error) {
	if f.before != nil {
		f.before(from)
	}
	if f.times > 0 {
		if f.times--; f.times == 0 {
			return nil, false, errAway
		}
	}
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(f.keys)), func(k string) bool { return k < from })
	n := min(limit, len(names))
	return names[:n], n < len(names), nil
}

func has(keys ...string) *fake {
	f := &fake{keys: map[string]bool{}}
	for _, k := range keys {
		f.keys[k] = true
	}
	return f
}

// recorded returns a directory with the placements, "key": "enclave".
func recorded(t *testing.T, places map[string]string) *memdir.Directory {
	t.Helper()
	d := memdir.New()
	for key, id := range places {
		if _, _, err := d.Place(ctx, key, id); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func places(t *testing.T, d routing.Directory) map[string]string {
	t.Helper()
	page, err := d.List(ctx, "", 10_000)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, p := range page.Placements {
		all[p.Key] = p.EnclaveID
	}
	return all
}

// compare runs and returns the result with the differences as text.
func compare(t *testing.T, cfg Config) (Result, []string) {
	t.Helper()
	var said []string
	cfg.Report = func(d Difference) {
		said = append(said, fmt.Sprintf("%s: %s, recorded in %q, found in %q, repaired %v", d.Key, d.Kind, d.RecordedIn, d.FoundIn, d.Repaired))
	}
	r, err := Run(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r, said
}

func TestEveryDifferenceIsReportedAndThoseWithOneAnswerAreRepaired(t *testing.T) {
	was := map[string]string{"good": "a", "wrong": "a", "unmade": "b", "twice": "b", "elsewhere": "z"}
	enclaves := map[string]Enclave{
		"a": has("good", "new", "twice", "both"),
		"b": has("wrong", "twice", "both"),
	}
	for _, c := range []struct {
		name           string
		repair, forget bool
		left           int
		after          map[string]string
	}{
		{"report", false, false, 5, was},
		{"repair", true, false, 3, map[string]string{"good": "a", "wrong": "b", "new": "a", "unmade": "b", "twice": "b", "elsewhere": "z"}},
		{"forget", true, true, 2, map[string]string{"good": "a", "wrong": "b", "new": "a", "twice": "b", "elsewhere": "z"}},
	} {
		for _, page := range []int{1, 2, 1000} {
			t.Run(fmt.Sprint(c.name, " ", page), func(t *testing.T) {
				d := recorded(t, was)
				r, said := compare(t, Config{Directory: d, Enclaves: enclaves, Repair: c.repair, Forget: c.forget, PageSize: page})
				want := []string{
					`both: in several enclaves, recorded in "", found in ["a" "b"], repaired false`,
					`elsewhere: recorded in an enclave that was not asked, recorded in "z", found in [], repaired false`,
					fmt.Sprintf(`new: not recorded, recorded in "", found in ["a"], repaired %v`, c.repair),
					`twice: in several enclaves, recorded in "b", found in ["a" "b"], repaired false`,
					fmt.Sprintf(`unmade: recorded and not made, recorded in "b", found in [], repaired %v`, c.forget),
					fmt.Sprintf(`wrong: recorded elsewhere, recorded in "a", found in ["b"], repaired %v`, c.repair),
				}
				if !slices.Equal(said, want) {
					t.Errorf("said\n%q, want\n%q", said, want)
				}
				if got := places(t, d); !maps.Equal(got, c.after) {
					t.Errorf("the directory has %v, want %v", got, c.after)
				}
				if r.Left() != c.left || r.Agreed != 1 || r.Recorded != 5 || r.Found["a"] != 4 || r.Found["b"] != 3 || len(r.Failed) != 0 {
					t.Errorf("%+v, %d left", r, r.Left())
				}
			})
		}
	}
}

func TestManyKeysAreComparedPageByPage(t *testing.T) {
	was := map[string]string{}
	a, b := has(), has()
	for i := range 2500 {
		key := fmt.Sprint("k", i)
		was[key] = "a"
		if i%2 == 0 {
			was[key] = "b"
			b.keys[key] = true
			continue
		}
		a.keys[key] = true
	}
	r, said := compare(t, Config{Directory: recorded(t, was), Enclaves: map[string]Enclave{"a": a, "b": b}, PageSize: 7})
	if len(said) > 0 || r.Agreed != 2500 || r.Left() != 0 {
		t.Errorf("%v, %+v", said, r)
	}
}

func TestKeysThatAreMadeMeanwhileAreNoDifference(t *testing.T) {
	d := recorded(t, nil)
	a := has()
	n := 0
	a.before = func(from string) { // a Create at each question: recorded, then made
		if n++; n < 50 {
			for _, key := range []string{fmt.Sprint("a", n), fmt.Sprint("z", n), from + "+"} {
				if _, _, err := d.Place(ctx, key, "a"); err != nil {
					t.Error(err)
				}
				a.keys[key] = true
			}
		}
	}
	_, said := compare(t, Config{Directory: d, Enclaves: map[string]Enclave{"a": a}, PageSize: 3})
	if len(said) > 0 {
		t.Error(said)
	}
}

func TestEnclaveThatDoesNotAnswerIsNotJudged(t *testing.T) {
	was := map[string]string{"k1": "a", "k2": "b", "k3": "b"}
	for times := 1; times < 4; times++ {
		b := has("k2", "k3")
		b.times = times
		d := recorded(t, was)
		r, said := compare(t, Config{Directory: d, Enclaves: map[string]Enclave{"a": has("k1"), "b": b}, Repair: true, Forget: true, PageSize: 1})
		if !maps.Equal(places(t, d), was) || r.Left() != 0 {
			t.Errorf("after %d answers: %q, %+v", times-1, said, r)
		}
		if times < 3 && !errors.Is(r.Failed["b"], errAway) {
			t.Errorf("after %d answers: %v", times-1, r.Failed)
		}
	}
}

func TestDirectoryThatDoesNotAnswerIsAnError(t *testing.T) {
	o := routingtest.NewOutage(recorded(t, nil))
	o.Away()
	if _, err := Run(ctx, Config{Directory: o, Enclaves: map[string]Enclave{"a": has("k")}}); !errors.Is(err, routing.ErrDirectoryUnavailable) {
		t.Error(err)
	}
}

func TestListThatIsOutOfOrderIsRefused(t *testing.T) {
	r, _ := compare(t, Config{Directory: recorded(t, nil), Enclaves: map[string]Enclave{"a": backwards{}}, Repair: true})
	if r.Failed["a"] == nil {
		t.Errorf("%+v", r)
	}
}

type backwards struct{}

func (backwards) ListKeys(context.Context, string, int) ([]string, bool, error) {
	return []string{"z", "a"}, true, nil
}
