package envconfig_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/enclavepool/enclavepool/pool"
	"github.com/enclavepool/enclavepool/pool/envconfig"
)

func TestEnclavesAreReadWithTheirOptions(t *testing.T) {
	a, b := pool.Enclave{ID: "a", Target: "vsock:16:5000"}, pool.Enclave{ID: "b", Target: "unix:/run/b.sock"}
	full := pool.Enclave{ID: "eu/a-1:x@y.z_", Target: "hvsock:///run/vm.sock:5000", MinConns: 8, MaxConns: 16, Weight: 2, Authority: "signer.internal:443"}
	for text, want := range map[string][]pool.Enclave{
		"":                                   nil,
		" \n":                                nil,
		"a=vsock:16:5000":                    {a},
		"a=vsock:16:5000,b=unix:/run/b.sock": {a, b},
		" a = vsock:16:5000 ,\n  b=unix:/run/b.sock,\n": {a, b},
		"a=vsock:16:5000;": {a},
		"eu/a-1:x@y.z_=hvsock:///run/vm.sock:5000;min=8;max=16;weight=2;authority=signer.internal:443":           {full},
		"eu/a-1:x@y.z_=hvsock:///run/vm.sock:5000 ; authority = signer.internal:443 ; weight=2 ; max=16 ; min=8": {full},
		"c=unix:/run/a=b": {{ID: "c", Target: "unix:/run/a=b"}},
	} {
		got, err := envconfig.ParseEnclaves(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

func TestEachProblemOfAnEnclaveIsReported(t *testing.T) {
	for text, want := range map[string][]string{
		"a":                         {`SIGNER_ENCLAVES entry 1 is "a" (environment), want ID=target, such as a=vsock:16:5000`},
		"a=vsock:16:5000,,b=c":      {`SIGNER_ENCLAVES entry 2 (environment): want ID=target, such as a=vsock:16:5000`, `SIGNER_ENCLAVES enclave "b" target is "c" (environment), want a target: `},
		"=vsock:16:5000, b= ;min=3": {`SIGNER_ENCLAVES entry 1 is "=vsock:16:5000"`, `SIGNER_ENCLAVES entry 2 is "b= ;min=3"`},
		"a=vsock:16:5000;min=0;max=x;weight=-1;authority=": {
			`SIGNER_ENCLAVES enclave "a" min is "0" (environment), want a whole number of at least 1`,
			`SIGNER_ENCLAVES enclave "a" max is "x" (environment), want a whole number of at least 1`,
			`SIGNER_ENCLAVES enclave "a" weight is "-1" (environment), want a whole number of at least 1`,
			`SIGNER_ENCLAVES enclave "a" authority (environment): want a host name; leave it out for localhost`,
		},
		"a=vsock:16:5000;mni=3;min=2;min=3;;four;=5": {
			`SIGNER_ENCLAVES enclave "a" option is "mni" (environment), want one of min, max, weight, authority; the nearest is min`,
			`SIGNER_ENCLAVES enclave "a" min is "3" (environment), want to be given once`,
			`SIGNER_ENCLAVES enclave "a" option (environment): want name=value, the name one of min, max, weight, authority`,
			`SIGNER_ENCLAVES enclave "a" option is "four" (environment), want name=value`,
			`SIGNER_ENCLAVES enclave "a" option is "=5" (environment), want name=value`,
		},
		// What the pool says of it.
		"a=vsock:16:5000;min=5000": {
			`SIGNER_ENCLAVES enclave "a" min is "5000" (environment), want 1 to 1024`,
			`SIGNER_ENCLAVES enclave "a" max is "32" (environment), want at least its min (5000)`,
		},
		"a=vsock:16:5000;min=9;max=8":       {`SIGNER_ENCLAVES enclave "a" max is "8" (environment), want at least its min (9)`},
		"a=vsock:16:5000;weight=2147483648": {`SIGNER_ENCLAVES enclave "a" weight is "2147483648" (environment), want 1 to 2147483647`},
		"a=vsock:16:5000;authority=x y":     {`SIGNER_ENCLAVES enclave "a" authority is "x y" (environment), want printable ASCII`},
		"a b=vsock:16:5000":                 {`SIGNER_ENCLAVES enclave "a b" ID is "a b" (environment), want 1 to 128 letters`},
		"a=vsock:16:5000,a=vsock:17:5000":   {`SIGNER_ENCLAVES enclave "a" ID is "a" (environment), want an ID that no other enclave has`},
		"a=vsock:16,b=vsock:2:5000": {
			`SIGNER_ENCLAVES enclave "a" target is "vsock:16" (environment), want a target: `,
			`SIGNER_ENCLAVES enclave "b" target is "vsock:2:5000" (environment), want a target: `,
		},
		" , ": {`SIGNER_ENCLAVES entry 1 (environment): want ID=target`},
		",":   {`SIGNER_ENCLAVES entry 1 (environment): want ID=target`},
	} {
		_, err := envconfig.Load([]string{"SIGNER_ENCLAVES=" + text}, "")
		checkProblems(t, text, err, want)
	}
	_, err := envconfig.ParseEnclaves("a")
	checkProblems(t, "a", err, []string{`SIGNER_ENCLAVES entry 1 is "a", want ID=target`})
}

// checkProblems compares the lines of an error with their beginnings.
func checkProblems(t *testing.T, what string, err error, want []string) {
	t.Helper()
	if err == nil {
		t.Errorf("%q: no error, want %q", what, want)
		return
	}
	if !errors.Is(err, pool.ErrConfig) {
		t.Errorf("%q: %v is no ErrConfig", what, err)
	}
	lines := strings.Split(err.Error(), "\n")
	wrong := len(lines) != len(want)
	for i, line := range lines {
		wrong = wrong || !strings.HasPrefix(line, want[i])
	}
	if wrong {
		t.Errorf("%q:\n%v\nwant\n%s", what, err, strings.Join(want, "\n"))
	}
}

// written is the enclaves as ParseEnclaves reads them.
func written(enclaves []pool.Enclave) string {
	var b strings.Builder
	for _, e := range enclaves {
		fmt.Fprintf(&b, "%s=%s", e.ID, e.Target)
		if e.MinConns != 0 {
			fmt.Fprintf(&b, ";min=%d", e.MinConns)
		}
		if e.MaxConns != 0 {
			fmt.Fprintf(&b, ";max=%d", e.MaxConns)
		}
		if e.Weight != 0 {
			fmt.Fprintf(&b, ";weight=%d", e.Weight)
		}
		if e.Authority != "" {
			fmt.Fprintf(&b, ";authority=%s", e.Authority)
		}
		b.WriteString(",")
	}
	return b.String()
}

func FuzzEnclaves(f *testing.F) {
	for _, s := range []string{
		"", ",", "a", "a=b", "a=vsock:16:5000;min=8;max=16;weight=2;authority=signer.internal,b=unix:/run/b.sock",
		"a==;min", ";;,=", "a=b;min=99999999999999999999", "\x00=\xff;weight=1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		first, err := envconfig.ParseEnclaves(s)
		if err != nil {
			if first != nil || !errors.Is(err, pool.ErrConfig) {
				t.Fatalf("%+v with %v", first, err)
			}
			return
		}
		again, err := envconfig.ParseEnclaves(written(first))
		if err != nil || !reflect.DeepEqual(first, again) {
			t.Fatalf("%q\nis      %+v\nwritten %q\nis      %+v, %v", s, first, written(first), again, err)
		}
	})
}
