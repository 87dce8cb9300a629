package stack

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Sample is one line of a page in Prometheus's text format.
type Sample struct {
	Name   string
	Labels map[string]string
	Value  float64
}

// Metrics are the samples of a page, in its order.
type Metrics []Sample

var label = regexp.MustCompile(`^,?([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"`)

// ParseMetrics reads the lines of a page that carry values, without timestamps.
func ParseMetrics(page string) (Metrics, error) {
	var all Metrics
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		s, err := parseSample(line)
		if err != nil {
			return nil, fmt.Errorf("metrics line %q: %w", line, err)
		}
		all = append(all, s)
	}
	return all, nil
}

func parseSample(line string) (s Sample, err error) {
	end := strings.IndexAny(line, "{ ")
	if end < 1 {
		return s, fmt.Errorf("no name and value")
	}
	s = Sample{Name: line[:end], Labels: make(map[string]string)}
	rest := line[end:]
	if rest[0] == '{' {
		rest = rest[1:]
		for {
			m := label.FindStringSubmatch(rest)
			if m == nil {
				break
			}
			s.Labels[m[1]] = strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\n`, "\n").Replace(m[2])
			rest = rest[len(m[0]):]
		}
		if rest == "" || rest[0] != '}' {
			return s, fmt.Errorf("labels do not end")
		}
		rest = rest[1:]
	}
	s.Value, err = strconv.ParseFloat(strings.TrimSpace(rest), 64)
	return s, err
}

// Of returns the sum of the values that the enclave has under a name, whatever their other labels, and whether there is
// any.
func (m Metrics) Of(name, enclaveID string) (sum float64, found bool) {
	for _, s := range m {
		if s.Name == name && s.Labels["enclave_id"] == enclaveID {
			sum, found = sum+s.Value, true
		}
	}
	return sum, found
}

// ActiveConns is the gauge active_conns of the enclave; −1: there is none.
func (m Metrics) ActiveConns(enclaveID string) int {
	n, ok := m.Of("active_conns", enclaveID)
	if !ok {
		return -1
	}
	return int(n)
}
