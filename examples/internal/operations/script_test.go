package operations

import (
	"regexp"
	"strings"
)

// scenario is a section of the runbook with something to run; each gets a site of its own.
type scenario struct {
	title string
	steps []step
}

// step is a directive to the test, which readers do not see, or a block with the output that it is shown with.
type step struct {
	line      int
	directive []string
	code      string
	want      string
	compared  bool
}

var directiveLine = regexp.MustCompile(`^<!-- test: (.+) -->$`)

// script reads a runbook: the block of functions that is marked "sh setup", and the scenarios. Blocks with other marks,
// such as "sh kubectl", are not for here.
func script(page string) (setup string, all []scenario) {
	var (
		info string
		body []string
		open bool
		last *step // the block that was just closed, whose output may follow
	)
	for i, line := range strings.Split(page, "\n") {
		current := func() *scenario { return &all[len(all)-1] }
		switch {
		case open && line == "```":
			open = false
			text := strings.Join(body, "\n")
			switch info {
			case "sh setup":
				setup = text
			case "sh":
				current().steps = append(current().steps, step{line: i + 1, code: text})
				last = &current().steps[len(current().steps)-1]
				continue
			case "text":
				if last != nil {
					last.want, last.compared = text, true
				}
			}
			last = nil
		case open:
			body = append(body, line)
		case strings.HasPrefix(line, "```"):
			open, info, body = true, strings.TrimPrefix(line, "```"), nil
		case strings.HasPrefix(line, "#"):
			all = append(all, scenario{title: strings.TrimLeft(line, "# ")})
			last = nil
		case directiveLine.MatchString(line):
			words := strings.Fields(directiveLine.FindStringSubmatch(line)[1])
			current().steps = append(current().steps, step{line: i + 1, directive: words})
			last = nil
		case line != "":
			last = nil
		}
	}
	return setup, all
}

var assignment = regexp.MustCompile(`(?m)^[A-Z]+=.*\n`)

// functions is a setup without the values of its variables, which the test gives.
func functions(setup string) string { return assignment.ReplaceAllString(setup+"\n", "") }

// matches compares what was printed with what should be, in which … stands for anything within a line.
func matches(want, got string) bool {
	pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(want)), "…", ".*")
	return regexp.MustCompile("^" + pattern + "$").MatchString(strings.TrimSpace(got))
}
