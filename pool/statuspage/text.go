package statuspage

import (
	"strings"
	"unicode"
)

// maxText is the most that is shown of a text, in characters.
const maxText = 300

func causeText(err error) string {
	if err == nil {
		return ""
	}
	return printable(err.Error())
}

// printable returns the beginning of a text that others may have worded, in
// characters that stay where they are put: line breaks become spaces, and what
// is not printable, marks that turn the direction of writing included, or
// would pile up on its neighbour becomes a replacement character.
func printable(text string) string {
	var b strings.Builder
	n := 0
	for _, r := range text {
		if n++; n > maxText {
			b.WriteRune('…')
			break
		}
		switch {
		case unicode.IsSpace(r):
			r = ' '
		case !unicode.IsPrint(r), unicode.Is(unicode.M, r):
			r = unicode.ReplacementChar
		}
		b.WriteRune(r)
	}
	return b.String()
}
