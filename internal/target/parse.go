package target

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
)

// One valid value of each form, used in error messages.
const (
	exampleVsock    = "vsock:16:5000"
	exampleUnix     = "unix:/run/enclave.sock"
	exampleAbstract = "unix-abstract:enclave"
	exampleHvsock   = "hvsock:///run/vm.vsock:5000"
	exampleTCP      = "localhost:8080"
	exampleAny      = exampleVsock + ", " + exampleUnix + " or " + exampleTCP
)

// maxSocketPath is the longest unix socket path or abstract name in bytes: the kernel's sun_path holds 108, one of
// them the NUL that ends a path or begins an abstract name.
const maxSocketPath = 107

// Context IDs with a meaning of their own; none of these is an enclave.
const (
	cidHypervisor = 0
	cidLocal      = 1
	cidHost       = 2
	cidAny        = math.MaxUint32
)

// ParseError says which part of a target is wrong. Every error of [Parse] is one.
type ParseError struct {
	Value   string // the whole target as given
	Part    string // the part that is wrong, with its name: `CID "2"`
	Reason  string // what is wrong with it
	Example string // a valid target of the same form
}

func (e *ParseError) Error() string {
	return fmt.Sprintf("target %q: %s %s; a valid target is %s", e.Value, e.Part, e.Reason, e.Example)
}

// Parse reads a target. The forms are:
//
//	vsock:cid:port, vsock://cid:port   AF_VSOCK; CID 1 is this machine (loopback), 3 the parent of a Nitro enclave
//	unix:path, unix:///path            unix socket, relative or absolute in the first form
//	unix-abstract:name                 Linux abstract unix socket
//	hvsock:///path:port                a guest's vsock port behind the unix socket of Firecracker
//	host:port, [ipv6]:port             TCP, for development
//
// CIDs and vsock ports are decimal numbers of 32 bits. CIDs 0, 2 and 4294967295 and ports 0 and 4294967295 have
// other meanings in the kernel and are refused, as are socket paths over 107 bytes. Paths are taken literally:
// no percent-decoding, no cleaning. The error is a [*ParseError].
func Parse(s string) (Target, error) {
	if s == "" {
		return Target{}, &ParseError{s, "the value", "is empty", exampleAny}
	}
	if s != strings.TrimSpace(s) {
		return Target{}, &ParseError{s, "the value", "begins or ends with white space", exampleAny}
	}
	if i := strings.IndexFunc(s, unicode.IsControl); i >= 0 {
		return Target{}, &ParseError{s, "the value", fmt.Sprintf("has a control character at byte %d", i), exampleAny}
	}
	scheme, rest, _ := strings.Cut(s, ":")
	switch scheme {
	case schemeVsock:
		return parseVsock(s, rest)
	case schemeUnix:
		return parseUnix(s, rest)
	case schemeAbstract:
		return parseAbstract(s, rest)
	case schemeHvsock:
		return parseHvsock(s, rest)
	}
	return parseTCP(s)
}

func parseVsock(s, rest string) (Target, error) {
	fail := func(part, reason string) (Target, error) {
		return Target{}, &ParseError{s, part, reason, exampleVsock}
	}
	cidText, portText, ok := strings.Cut(strings.TrimPrefix(rest, "//"), ":")
	if !ok {
		return fail("the part after the CID", "is missing: a port must follow")
	}
	cid, reason := decimal(cidText)
	if reason == "" {
		reason = reservedCID(cid)
	}
	if reason != "" {
		return fail(fmt.Sprintf("CID %q", cidText), reason)
	}
	port, reason := vsockPort(portText)
	if reason != "" {
		return fail(fmt.Sprintf("port %q", portText), reason)
	}
	return Target{kind: kindVsock, cid: cid, port: port}, nil
}

// reservedCID says why a CID cannot be an enclave's; empty: it can.
func reservedCID(cid uint32) string {
	switch cid {
	case cidHypervisor:
		return "is the hypervisor, not an enclave"
	case cidHost:
		return "is the host, not an enclave (from inside a Nitro enclave the parent is CID 3)"
	case cidAny:
		return "means any CID and can only be listened on"
	}
	return ""
}

func parseUnix(s, rest string) (Target, error) {
	fail := func(part, reason string) (Target, error) {
		return Target{}, &ParseError{s, part, reason, exampleUnix}
	}
	path := rest
	if after, ok := strings.CutPrefix(rest, "//"); ok {
		if after != "" && !strings.HasPrefix(after, "/") {
			host, _, _ := strings.Cut(after, "/")
			return fail(fmt.Sprintf("host %q", host), "does not belong there: after unix:// comes an absolute path, so three slashes in all")
		}
		path = after
	}
	if reason := socketPath(path); reason != "" {
		return fail(fmt.Sprintf("path %q", path), reason)
	}
	if strings.HasPrefix(path, "@") {
		// The net package would take this for an abstract name.
		return fail(fmt.Sprintf("path %q", path), fmt.Sprintf("begins with @: write %s:%s for an abstract socket, or unix:./%s for a file",
			schemeAbstract, path[1:], path))
	}
	return Target{kind: kindUnix, addr: path}, nil
}

func parseAbstract(s, rest string) (Target, error) {
	fail := func(part, reason string) (Target, error) {
		return Target{}, &ParseError{s, part, reason, exampleAbstract}
	}
	if strings.HasPrefix(rest, "//") {
		return fail(fmt.Sprintf("name %q", rest), "begins with //: the name follows the colon directly")
	}
	if reason := socketPath(rest); reason != "" {
		return fail(fmt.Sprintf("name %q", rest), reason)
	}
	return Target{kind: kindAbstract, addr: rest}, nil
}

func parseHvsock(s, rest string) (Target, error) {
	fail := func(part, reason string) (Target, error) {
		return Target{}, &ParseError{s, part, reason, exampleHvsock}
	}
	after, ok := strings.CutPrefix(rest, "//")
	if !ok || !strings.HasPrefix(after, "/") {
		return fail(fmt.Sprintf("path %q", rest), "is not absolute: three slashes must follow hvsock:")
	}
	colon := strings.LastIndexByte(after, ':')
	if colon < 0 {
		return fail("the part after the path", "is missing: the guest's vsock port must follow")
	}
	path, portText := after[:colon], after[colon+1:]
	if reason := socketPath(path); reason != "" {
		return fail(fmt.Sprintf("path %q", path), reason)
	}
	port, reason := vsockPort(portText)
	if reason != "" {
		return fail(fmt.Sprintf("port %q", portText), reason)
	}
	return Target{kind: kindHvsock, addr: path, port: port}, nil
}

// socketPath says what is wrong with a unix socket path or abstract name; empty: nothing.
func socketPath(path string) string {
	if path == "" {
		return "is empty"
	}
	if len(path) > maxSocketPath {
		return fmt.Sprintf("is %d bytes long, and the kernel allows %d", len(path), maxSocketPath)
	}
	if path != strings.TrimSpace(path) {
		return "begins or ends with white space"
	}
	return ""
}

// vsockPort reads the port of a vsock address that is to be dialled.
func vsockPort(text string) (port uint32, reason string) {
	port, reason = decimal(text)
	if reason != "" {
		return 0, reason
	}
	switch port {
	case 0:
		return 0, "cannot be dialled"
	case math.MaxUint32:
		return 0, "means any port and cannot be dialled"
	}
	return port, ""
}

// decimal reads a number of 32 bits, digits only. Leading zeros are refused since other programs read them as octal.
func decimal(text string) (n uint32, reason string) {
	switch {
	case text == "":
		return 0, "is empty"
	case strings.Trim(text, "0123456789") != "":
		return 0, "is not a decimal number"
	case len(text) > 1 && text[0] == '0':
		return 0, "has a leading zero"
	}
	v, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return 0, "does not fit in 32 bits"
	}
	return uint32(v), ""
}
