package target

import (
	"fmt"
	"net/netip"
	"strings"
)

// parseTCP reads host:port or [ipv6]:port. It is stricter than the net package, because what ends up here is also
// every misspelt target of another form, and "16:5000" must not become a name to look up.
func parseTCP(s string) (Target, error) {
	fail := func(part, reason, example string) (Target, error) {
		return Target{}, &ParseError{s, part, reason, example}
	}
	before, _, _ := strings.Cut(s, ":")
	for _, scheme := range []string{schemeVsock, schemeUnix, schemeAbstract, schemeHvsock} {
		if strings.EqualFold(before, scheme) {
			return fail(fmt.Sprintf("scheme %q", before), "must be in lower case", exampleAny)
		}
	}
	if strings.HasPrefix(s, "[") {
		return parseBracketed(s)
	}
	switch strings.Count(s, ":") {
	case 0:
		return fail(fmt.Sprintf("host %q", s), "has no port", exampleTCP)
	case 1:
	default:
		hex := strings.Trim(s, "0123456789abcdefABCDEF:") == ""
		if hex && (strings.Contains(s, "::") || strings.Count(s, ":") >= 7) {
			return fail(fmt.Sprintf("host %q", s), "has several colons: an IPv6 address needs brackets", "[::1]:8080")
		}
		return fail(fmt.Sprintf("scheme %q", before), "is none of vsock, unix, unix-abstract and hvsock", exampleAny)
	}
	host, portText, _ := strings.Cut(s, ":")
	port, reason := tcpPort(portText)
	if reason != "" {
		return fail(fmt.Sprintf("port %q", portText), reason, exampleTCP)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return Target{kind: kindTCP, addr: ip.String(), port: port}, nil
	}
	if reason := hostName(host); reason != "" {
		return fail(fmt.Sprintf("host %q", host), reason, exampleTCP)
	}
	if labels := strings.Split(host, "."); strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		return fail(fmt.Sprintf("host %q", host), "is a number and no IP address (a CID needs vsock: in front)", exampleAny)
	}
	return Target{kind: kindTCP, addr: strings.ToLower(host), port: port}, nil
}

func parseBracketed(s string) (Target, error) {
	const example = "[::1]:8080"
	host, rest, ok := strings.Cut(s[1:], "]")
	if !ok {
		return Target{}, &ParseError{s, fmt.Sprintf("host %q", s), "has no closing bracket", example}
	}
	ip, err := netip.ParseAddr(host)
	if err != nil || !ip.Is6() || ip.Zone() != "" && hostName(ip.Zone()) != "" {
		return Target{}, &ParseError{s, fmt.Sprintf("host %q", host), "is not an IPv6 address", example}
	}
	portText, ok := strings.CutPrefix(rest, ":")
	if !ok {
		return Target{}, &ParseError{s, fmt.Sprintf("port %q", rest), "must follow the bracket after a colon", example}
	}
	port, reason := tcpPort(portText)
	if reason != "" {
		return Target{}, &ParseError{s, fmt.Sprintf("port %q", portText), reason, example}
	}
	return Target{kind: kindTCP, addr: ip.String(), port: port}, nil
}

func tcpPort(text string) (port uint32, reason string) {
	port, reason = decimal(text)
	if reason == "" && (port == 0 || port > 65535) {
		reason = "is outside 1 to 65535"
	}
	return port, reason
}

// hostName says what is wrong with a host name; empty: nothing. The rules are those of the DNS, and underscores,
// which container networks use.
func hostName(host string) string {
	if host == "" {
		return "is empty"
	}
	if len(host) > 253 {
		return "is longer than 253 bytes"
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		if label == "" || len(label) > 63 {
			return "has a label that is empty or longer than 63 bytes"
		}
		for i := range len(label) {
			c := label[i]
			if ok := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'; !ok {
				return fmt.Sprintf("has the character %q", c)
			}
		}
	}
	return ""
}
