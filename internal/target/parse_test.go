package target

import (
	"errors"
	"strings"
	"testing"
)

func TestParseUnderstandsEveryFormAndYieldsItsCanonicalSpelling(t *testing.T) {
	for _, c := range []struct {
		in, canonical, network string
		local                  bool
	}{
		{"vsock:16:5000", "vsock:16:5000", "vsock", true},
		{"vsock://16:5000", "vsock:16:5000", "vsock", true},
		{"vsock:1:5000", "vsock:1:5000", "vsock", true},
		{"vsock:3:1", "vsock:3:1", "vsock", true},
		{"vsock:4294967294:4294967294", "vsock:4294967294:4294967294", "vsock", true},
		{"unix:/run/b.sock", "unix:/run/b.sock", "unix", true},
		{"unix:///run/b.sock", "unix:/run/b.sock", "unix", true},
		{"unix:////run/b.sock", "unix:////run/b.sock", "unix", true},
		{"unix:run/b.sock", "unix:run/b.sock", "unix", true},
		{"unix:./@b", "unix:./@b", "unix", true},
		{"unix:/a:b c", "unix:/a:b c", "unix", true},
		{"unix:/" + strings.Repeat("a", 106), "unix:/" + strings.Repeat("a", 106), "unix", true},
		{"unix-abstract:enclave", "unix-abstract:enclave", "unix", true},
		{"unix-abstract:/looks/like/a/path", "unix-abstract:/looks/like/a/path", "unix", true},
		{"hvsock:///run/vm.vsock:5000", "hvsock:///run/vm.vsock:5000", "hvsock", true},
		{"hvsock:///run/a:b:5000", "hvsock:///run/a:b:5000", "hvsock", true},
		{"localhost:8080", "localhost:8080", "tcp", true},
		{"LocalHost:8080", "localhost:8080", "tcp", true},
		{"127.9.9.9:8080", "127.9.9.9:8080", "tcp", true},
		{"[::1]:8080", "[::1]:8080", "tcp", true},
		{"[0:0::1]:8080", "[::1]:8080", "tcp", true},
		{"10.0.0.1:65535", "10.0.0.1:65535", "tcp", false},
		{"[fe80::1%eth0.100]:80", "[fe80::1%eth0.100]:80", "tcp", false},
		{"signer_1.example.com:443", "signer_1.example.com:443", "tcp", false},
		{"localhost.example.com:443", "localhost.example.com:443", "tcp", false},
	} {
		target, err := Parse(c.in)
		if err != nil {
			t.Errorf("Parse(%q): %v", c.in, err)
			continue
		}
		if target.String() != c.canonical || target.Network() != c.network || target.Local() != c.local {
			t.Errorf("Parse(%q) is %q, network %q, local %v; want %q, %q, %v", c.in,
				target, target.Network(), target.Local(), c.canonical, c.network, c.local)
		}
		if again := mustParse(t, target.String()); again != target {
			t.Errorf("Parse(%q) = %+v, parsed again %+v", c.in, target, again)
		}
	}
}

func TestParseNamesTheValueThePartThatIsWrongAndAValidExample(t *testing.T) {
	long := strings.Repeat("a", 108)
	for _, c := range []struct{ in, part string }{
		{"", "value"},
		{" vsock:16:5000", "value"},
		{"unix:/run/b.sock\n", "value"},
		{"unix:/run/\x00b", "value"},
		{"vsock", "after the CID"},
		{"vsock:16", "after the CID"},
		{"vsock:5000:", `port ""`},
		{"vsock::5000", `CID ""`},
		{"vsock:0:5000", `CID "0"`},
		{"vsock:2:5000", `CID "2"`},
		{"vsock:4294967295:5000", `CID "4294967295"`},
		{"vsock:4294967296:5000", `CID "4294967296"`},
		{"vsock:-1:5000", `CID "-1"`},
		{"vsock:+16:5000", `CID "+16"`},
		{"vsock:016:5000", `CID "016"`},
		{"vsock:0x10:5000", `CID "0x10"`},
		{"vsock:16:0", `port "0"`},
		{"vsock:16:4294967295", `port "4294967295"`},
		{"vsock:16:99999999999999999999", `port "99999999999999999999"`},
		{"vsock:16:5000/", `port "5000/"`},
		{"vsock:///16:5000", `CID "/16"`},
		{"unix:", `path ""`},
		{"unix://", `path ""`},
		{"unix://run/b.sock", `host "run"`},
		{"unix:@b", `path "@b"`},
		{"unix: /run/b.sock", `path " /run/b.sock"`},
		{"unix:" + long, `path "` + long},
		{"unix-abstract:", `name ""`},
		{"unix-abstract://b", `name "//b"`},
		{"unix-abstract:" + long, `name "` + long},
		{"hvsock:/run/vm.vsock:5000", `path "/run/vm.vsock:5000"`},
		{"hvsock://run/vm.vsock:5000", `path "//run/vm.vsock:5000"`},
		{"hvsock:///run/vm.vsock", "after the path"},
		{"hvsock:///run/vm.vsock:", `port ""`},
		{"hvsock:///run/vm.vsock:0", `port "0"`},
		{"hvsock:///" + long + ":5000", `path "/` + long},
		{"localhost", `host "localhost"`},
		{"localhost:", `port ""`},
		{"localhost:0", `port "0"`},
		{"localhost:65536", `port "65536"`},
		{"localhost:http", `port "http"`},
		{":8080", `host ""`},
		{"a..b:80", `host "a..b"`},
		{"a/b:80", `host "a/b"`},
		{"bücher.example:80", `host "bücher.example"`},
		{strings.Repeat("a", 64) + ":80", `host "aaa`},
		{"16:5000", `host "16"`},
		{"1.2.3:5000", `host "1.2.3"`},
		{"::1:8080", `host "::1:8080"`},
		{"1:2:3:4:5:6:7:8:80", `host "1:2:3:4:5:6:7:8:80"`},
		{"[::1:8080", `host "[::1:8080"`},
		{"[::1]8080", `port "8080"`},
		{"[::1]:0", `port "0"`},
		{"[localhost]:80", `host "localhost"`},
		{"[127.0.0.1]:80", `host "127.0.0.1"`},
		{"[fe80::1%a b]:80", `host "fe80::1%a b"`},
		{"vsok:16:5000", `scheme "vsok"`},
		{"tcp://10.0.0.1:80", `scheme "tcp"`},
		{"VSOCK:16:5000", `scheme "VSOCK"`},
		{"Unix:80", `scheme "Unix"`},
	} {
		target, err := Parse(c.in)
		pe, ok := errors.AsType[*ParseError](err)
		if !ok {
			t.Errorf("Parse(%q) = %v, %v; want a ParseError", c.in, target, err)
			continue
		}
		if target != (Target{}) {
			t.Errorf("Parse(%q) returns %v beside its error", c.in, target)
		}
		if pe.Value != c.in || !strings.Contains(pe.Part, c.part) || pe.Reason == "" || pe.Example == "" {
			t.Errorf("Parse(%q) blames %q of %q because it %q, example %q; want it to blame %q", c.in, pe.Part, pe.Value, pe.Reason, pe.Example, c.part)
		}
		for _, s := range []string{pe.Part, pe.Reason, pe.Example} {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("the message %q does not contain %q", err, s)
			}
		}
		if Retryable(err) {
			t.Errorf("the parse error %q counts as retryable", err)
		}
	}
}

func TestExamplesInParseErrorsAreValid(t *testing.T) {
	for _, s := range []string{exampleVsock, exampleUnix, exampleAbstract, exampleHvsock, exampleTCP, "[::1]:8080"} {
		mustParse(t, s)
	}
}

func TestTheZeroTargetIsNoAddress(t *testing.T) {
	var zero Target
	if zero.String() != "" || zero.Network() != "" || zero.Local() {
		t.Errorf("zero Target: %q, %q, local %v", zero.String(), zero.Network(), zero.Local())
	}
	if _, err := zero.Dial(t.Context()); err == nil || Retryable(err) {
		t.Errorf("dialing it: %v", err)
	}
	if _, err := zero.Listen(); err == nil || Retryable(err) {
		t.Errorf("listening on it: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"vsock:16:5000", "vsock://16:5000", "vsock:4294967295:1", "unix:/run/b.sock", "unix:///run/b.sock",
		"unix:////b", "unix:b", "unix:@b", "unix-abstract:b", "unix-abstract://b", "hvsock:///run/v:5000",
		"hvsock:///a:b:1", "localhost:8080", "LOCALHOST.:80", "[::1]:8080", "[fe80::1%eth0]:80",
		"[::ffff:127.0.0.1]:80", "127.0.0.1:80", "::1:80", "16:5000", "", "unix:\xff", "vsock:٣:5000",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		target, err := Parse(s)
		if err != nil {
			pe, ok := errors.AsType[*ParseError](err)
			if !ok || pe.Value != s || target != (Target{}) {
				t.Fatalf("Parse(%q) = %v, %#v", s, target, err)
			}
			return
		}
		again, err := Parse(target.String())
		if err != nil || again != target {
			t.Fatalf("Parse(%q) is %q, which parses to %+v, %v", s, target.String(), again, err)
		}
		if target.Network() == "" {
			t.Fatalf("Parse(%q) has no network", s)
		}
	})
}
