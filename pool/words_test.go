package pool

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestTextInALogIsPrintableAndBounded(t *testing.T) {
	for in, want := range map[string]string{
		"":                             "",
		"plain, with ümläuts":          "plain, with ümläuts",
		"a\nlevel=INFO\x1b[2J\x00\r":   "a.level=INFO.[2J..",
		"\u202egnp.exe":                ".gnp.exe",
		"\xff\xfe":                     "..",
		strings.Repeat("x", maxText):   strings.Repeat("x", maxText),
		strings.Repeat("x", maxText+1): strings.Repeat("x", maxText-3) + "...",
	} {
		if got := fit(in); got != want {
			t.Errorf("fit(%.40q) = %.40q", in, got)
		}
	}
}

func TestWhatAnEnclaveMayHaveWrittenIsWithheld(t *testing.T) {
	for in, want := range map[string]string{
		"": "",
		"stream terminated by RST_STREAM with error code: REFUSED_STREAM":  "stream terminated by RST_STREAM with error code: REFUSED_STREAM",
		"xstream terminated by RST_STREAM with error code: REFUSED_STREAM": "(64 bytes of text withheld)",
		"stream terminated by RST_STREAM with error code: key-17":          "(55 bytes of text withheld)",
		"the connection is draining":                                       "the connection is draining",
		"the connection is draining: key-17":                               "(34 bytes of text withheld)",
		"grpc: received message larger than max (3145740 vs. 4096)":        "grpc: received message larger than max (3145740 vs. 4096)",
		"no such key: key-17":                                              "(19 bytes of text withheld)",
	} {
		s := status.Convert(theirs(status.Error(codes.Internal, in)))
		if s.Message() != want || s.Code() != codes.Internal {
			t.Errorf("%q: %v %q, want %q", in, s.Code(), s.Message(), want)
		}
	}
}

func TestWhatGRPCWroteStaysWithoutTheGoAwayThatItQuotes(t *testing.T) {
	for in, want := range map[string]string{
		"error reading from server: EOF":                                                                   "error reading from server: EOF",
		"closing transport due to: EOF, received prior goaway: code: NO_ERROR":                             "closing transport due to: EOF, received prior goaway: code: NO_ERROR",
		`closing transport due to: EOF, received prior goaway: code: INTERNAL_ERROR, debug data: "key-17"`: "closing transport due to: EOF, received prior goaway: code: INTERNAL_ERROR",
	} {
		s := status.Convert(ours(status.Error(codes.Unavailable, in)))
		if s.Message() != want || s.Code() != codes.Unavailable {
			t.Errorf("%q: %v %q, want %q", in, s.Code(), s.Message(), want)
		}
	}
	fine := status.Error(codes.Unavailable, "error reading from server: EOF")
	if ours(fine) != fine {
		t.Error("an error that is fit was replaced")
	}
	if other := errors.New("other"); ours(other) != other {
		t.Error("an error without a status was replaced")
	}
}

func TestOfAGoAwayOnlyKnownWordsAreRepeated(t *testing.T) {
	for in, want := range map[string]string{"": `""`, "max_age": `"max_age"`, "key-17": "(6 bytes of text withheld)"} {
		if got := goAwayWords(in); got != want {
			t.Errorf("%q: %s", in, got)
		}
	}
	if got := fmt.Sprint(goAwayWords("max_age key-17")); strings.Contains(got, "key-17") {
		t.Error(got)
	}
}
