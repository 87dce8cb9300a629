package main

import (
	"context"
	"fmt"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
)

// served counts calls to sign by who served them: the enclave that the key belongs to, another one, or nobody.
type served struct{ Owner, Other, Nobody float64 }

// servedSoFar reads the counts of a gateway.
func servedSoFar(ctx context.Context, g *stack.Gateway) (served, error) {
	m, err := g.Metrics(ctx)
	if err != nil {
		return served{}, err
	}
	var s served
	for _, sample := range m {
		if sample.Name != "gateway_signs_total" {
			continue
		}
		switch sample.Labels["served_by"] {
		case "owner":
			s.Owner += sample.Value
		case "other":
			s.Other += sample.Value
		default:
			s.Nobody += sample.Value
		}
	}
	return s, nil
}

func (s served) minus(t served) served {
	return served{s.Owner - t.Owner, s.Other - t.Other, s.Nobody - t.Nobody}
}

func (s served) total() float64 { return s.Owner + s.Other + s.Nobody }

// hitRate is the share that the keys' owners served.
func (s served) hitRate() string { return percent(s.Owner, s.total()) }

// course is what was served before an outage, during it and after it.
type course struct{ Before, Outage, After served }

// rows are a table of a course, one line for each kind.
func (c course) rows() []string {
	rows := []string{fmt.Sprintf("  %-26s %8s %8s %8s", "Sign calls", "before", "outage", "after")}
	for _, kind := range []struct {
		name string
		of   func(served) float64
	}{
		{"by the key's owner (hits)", func(s served) float64 { return s.Owner }},
		{"by another enclave", func(s served) float64 { return s.Other }},
		{"by nobody", func(s served) float64 { return s.Nobody }},
	} {
		row := fmt.Sprintf("  %-26s", kind.name)
		for _, s := range []served{c.Before, c.Outage, c.After} {
			row += fmt.Sprintf(" %8s", percent(kind.of(s), s.total()))
		}
		rows = append(rows, row)
	}
	return rows
}

// percent never rounds to 0 % or 100 % what is not.
func percent(part, whole float64) string {
	switch p := 100 * part / whole; {
	case whole == 0:
		return "-"
	case part == 0:
		return "0 %"
	case part == whole:
		return "100 %"
	default:
		return fmt.Sprintf("%.1f %%", min(max(p, 0.1), 99.9))
	}
}
