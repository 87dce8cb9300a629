package pool

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"google.golang.org/grpc/status"
)

// What an enclave says in its own words may be as long as it likes, forge a line
// of log, and repeat what it was sent: key IDs, digests. So its words reach a log,
// an event, Stats or an Error of the pool's only where they are known ones.
// The status of a call that it answered is the caller's and is not touched.

// maxText is the length of an error's text in a log, in bytes.
const maxText = 512

// fit makes text fit for a line of log: printable, and not longer than maxText.
func fit(text string) string {
	const more = "..."
	if len(text) > maxText {
		text = text[:maxText-len(more)] + more
	}
	return strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '.'
		}
		return r
	}, text)
}

// ours is a status that gRPC made: its text stays, made fit, without the debug
// data of a GOAWAY that it quotes.
func ours(err error) error {
	const quote = ", debug data: "
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	text := s.Message()
	if i := strings.Index(text, quote); i >= 0 {
		text = text[:i]
	}
	if text = fit(text); text == s.Message() {
		return err
	}
	return status.Error(s.Code(), text)
}

// grpcWords are texts that gRPC gives to the end of a stream, in full.
var grpcWords = regexp.MustCompile(`^(stream terminated by RST_STREAM with error code: [A-Z0-9_]{1,30}|the connection is draining|` +
	`context deadline exceeded|context canceled|transport is closing|error reading from server: EOF|` +
	`grpc: received message larger than max \([0-9]{1,10} vs\. [0-9]{1,10}\))$`)

// theirs is a status that the enclave may have written: of its text stays what
// gRPC would have said.
func theirs(err error) error {
	s, ok := status.FromError(err)
	if !ok {
		s = status.FromContextError(err)
	}
	if text := s.Message(); text != "" && !grpcWords.MatchString(text) {
		return status.Errorf(s.Code(), "(%d bytes of text withheld)", len(text))
	}
	return err
}

// goAwayWords is the debug data of a GOAWAY, quoted, where it is that of a server
// of gRPC's, and its length else.
func goAwayWords(debug string) string {
	switch debug {
	case "", "max_age", "max_idle", "graceful_stop", "too_many_pings", "ping_timeout", "server_shutdown":
		return fmt.Sprintf("%q", debug)
	}
	return fmt.Sprintf("(%d bytes of text withheld)", len(debug)) // as far as they were kept
}
