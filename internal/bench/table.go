package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Report is everything that one run measured.
type Report struct {
	Machine  Machine   `json:"machine"`
	Sections []Section `json:"sections"`
}

// Section is one measurement and those who took part in it.
type Section struct {
	Title string   `json:"title"`
	Notes []string `json:"notes,omitempty"` // what was done, and how
	Rows  []Row    `json:"rows"`
	Error string   `json:"error,omitempty"` // why it was not measured
}

// Row is one participant.
type Row struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"` // median of the turns
	Unit  string  `json:"unit"`
	// Ratio is the median, over the turns, of value ÷ the value of Base in the
	// same turn; Low and High are the quartiles. 0: there is no ratio.
	Ratio float64 `json:"ratio,omitempty"`
	Low   float64 `json:"low,omitempty"`
	High  float64 `json:"high,omitempty"`
	Base  string  `json:"base,omitempty"`
	Goals []Goal  `json:"goals,omitempty"`
}

// Goal is an upper bound, or a lower one.
type Goal struct {
	Of      string  `json:"of"` // "ratio" or "value"
	AtLeast bool    `json:"at_least,omitempty"`
	Limit   float64 `json:"limit"`
	Met     bool    `json:"met"`
}

// atMost adds a goal for the row's ratio or value.
func (r Row) atMost(of string, limit float64) Row {
	return r.goal(Goal{Of: of, Limit: limit, Met: r.of(of) <= limit})
}

// atLeast is atMost the other way round.
func (r Row) atLeast(of string, limit float64) Row {
	return r.goal(Goal{Of: of, Limit: limit, AtLeast: true, Met: r.of(of) >= limit})
}

func (r Row) goal(g Goal) Row {
	r.Goals = append(r.Goals[:len(r.Goals):len(r.Goals)], g)
	return r
}

func (r Row) of(what string) float64 {
	if what == "ratio" {
		return r.Ratio
	}
	return r.Value
}

// to names what the ratio is to.
func (r Row) to(base string) Row { r.Base = base; return r }

func (r Row) goalText() string {
	var texts []string
	for _, g := range r.Goals {
		unit, bound := r.Unit, "≤"
		if g.Of == "ratio" {
			unit = "×"
		}
		if g.AtLeast {
			bound = "≥"
		}
		text := strings.TrimSpace(fmt.Sprintf("goal %s %g %s", bound, g.Limit, unit))
		if g.Met {
			text += ": met"
		} else {
			text += ": NOT met, " + number(r.of(g.Of))
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, "; ")
}

func (r Row) cells() []string {
	ratio, quartiles := "", ""
	switch {
	case r.Ratio == 1 && r.Low == 1 && r.High == 1: // the base itself
		ratio = "1 ×"
	case r.Ratio != 0:
		ratio = number(r.Ratio) + " ×"
		quartiles = fmt.Sprintf("(%s–%s)", number(r.Low), number(r.High))
	}
	return []string{r.Name, number(r.Value), r.Unit, ratio, quartiles, r.Base, r.goalText()}
}

// WriteText writes one aligned table.
func (r Report) WriteText(w io.Writer) error {
	out := bufio.NewWriter(w)
	fmt.Fprintln(out, r.Machine)
	fmt.Fprintln(out, "Medians of turns taken alternately; × with (quartiles) is the ratio to what is named, turn by turn.")
	var widths []int
	for _, s := range r.Sections {
		for _, row := range s.Rows {
			for i, cell := range row.cells() {
				if i == len(widths) {
					widths = append(widths, 0)
				}
				widths[i] = max(widths[i], utf8.RuneCountInString(cell))
			}
		}
	}
	for _, s := range r.Sections {
		fmt.Fprintf(out, "\n%s\n", s.Title)
		for _, row := range s.Rows {
			line := " "
			for i, cell := range row.cells() {
				line += " " + pad(cell, widths[i], i == 1 || i == 3)
			}
			fmt.Fprintln(out, strings.TrimRight(line, " "))
		}
		if s.Error != "" {
			fmt.Fprintf(out, "  not measured: %s\n", s.Error)
		}
		for _, note := range s.Notes {
			fmt.Fprintf(out, "  · %s\n", note)
		}
	}
	return out.Flush()
}

func pad(s string, width int, right bool) string {
	fill := strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
	if right {
		return fill + s
	}
	return s + fill
}

// number keeps three digits that mean something.
func number(v float64) string {
	switch {
	case v >= 100 || v == 0:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}
