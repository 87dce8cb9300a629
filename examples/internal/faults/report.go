package faults

import (
	"fmt"
	"io"
)

// Text writes the report for a terminal.
func (r *Report) Text(w io.Writer) {
	for _, res := range r.Results {
		fmt.Fprintf(w, "%2d  %s\n", res.Row, res.Fault)
		fmt.Fprintf(w, "    held to: %s\n", res.Held)
		lines := func(name string, lines []string) {
			for _, l := range lines {
				fmt.Fprintf(w, "    %s %s\n", name, l)
			}
		}
		lines(" ", res.Measured)
		lines("not shown here:", res.NotShown)
		lines("not met:", res.Missed)
		lines("BROKEN:", res.Broken)
		fmt.Fprintf(w, "    ⇒ %s\n\n", res.Verdict())
	}
}

// Markdown writes the report as a page.
func (r *Report) Markdown(w io.Writer, date string, command []string) {}

// Today is the date.
func Today() string { return "" }
