package benchreport

import (
	"fmt"
	"html"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/load"
)

// The picture, in pixels: latency above, connections below, events across both.
const (
	width, left, right    = 960, 64, 16
	latencyTop, latencyH  = 48, 260
	connsTop, connsH      = 348, 80
	height                = 470
	minLatency, oneDecade = 100 * time.Microsecond, 10
)

// plot draws latency over time with every event marked on it.
func plot(r *Result) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	end := max(r.Load.Elapsed, time.Second)
	x := func(t time.Duration) float64 {
		return left + (width-left-right)*float64(max(0, min(t, end)))/float64(end)
	}
	top := minLatency * oneDecade
	for _, i := range r.Load.Intervals {
		for top < i.Latency.Max {
			top *= oneDecade
		}
	}
	decades := math.Log10(float64(top) / float64(minLatency))
	y := func(d time.Duration) float64 {
		share := math.Log10(float64(max(d, minLatency))/float64(minLatency)) / decades
		return latencyTop + latencyH*(1-min(share, 1))
	}
	p(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="12" fill="#333">`, width, height)
	p(`<rect width="%d" height="%d" fill="#fff"/>`, width, height)
	p(`<text x="%d" y="20" font-size="15" font-weight="600">%s</text>`, left, html.EscapeString(r.Title))
	for d := minLatency; d <= top; d *= oneDecade {
		p(`<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%v</text>`, left, y(d), width-right, left-6, y(d)+4, d)
	}
	for i := range 7 {
		at := end * time.Duration(i) / 6
		anchor := "middle"
		if i == 6 {
			anchor = "end"
		}
		p(`<text x="%.1f" y="%d" text-anchor="%s">%v</text>`, x(at), height-8, anchor, at.Round(100*time.Millisecond))
	}
	marks(p, r, x)
	// p99 and the maximum in this order, so that what is lower lies on top.
	for n, line := range []struct {
		name, colour string
		of           func(load.Latency) time.Duration
	}{
		{"max", "#d9a7b0", func(l load.Latency) time.Duration { return l.Max }},
		{"p99", "#c2410c", func(l load.Latency) time.Duration { return l.P99 }},
		{"p50", "#1d4ed8", func(l load.Latency) time.Duration { return l.P50 }},
	} {
		var d strings.Builder
		for _, i := range r.Load.Intervals {
			if i.Latency.Count == 0 {
				continue
			}
			command := "L"
			if d.Len() == 0 {
				command = "M"
			}
			fmt.Fprintf(&d, "%s%.1f %.1f", command, x((i.Start+i.End)/2), y(line.of(i.Latency)))
		}
		p(`<path d="%s" fill="none" stroke="%s" stroke-width="1.3"/>`, d.String(), line.colour)
		at := width - right - 150 + 52*n
		p(`<path d="M%d 16h14" stroke="%s" stroke-width="3"/><text x="%d" y="20">%s</text>`, at, line.colour, at+18, line.name)
	}
	connected(p, r, x)
	p(`</svg>`)
	return b.String()
}

// marks draws the events and the disturbance, those of one kind within a hundredth of the run as one.
func marks(p func(string, ...any), r *Result, x func(time.Duration) float64) {
	if d := r.Disturb; d != nil {
		p(`<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="#fde68a" opacity="0.5"><title>enclave %s away</title></rect>`,
			x(d.Began), latencyTop, max(1, x(d.Listening)-x(d.Began)), latencyH, enclaves[0])
	}
	colours := map[string]string{"INFO": "#15803d", "WARN": "#b45309", "ERROR": "#b91c1c"}
	var last map[string]float64
	for _, e := range r.Events {
		if e.At > r.Load.Elapsed {
			break
		}
		at := x(e.At)
		if was, ok := last[e.Message]; ok && at-was < float64(width)/100 {
			continue
		}
		if last == nil {
			last = map[string]float64{}
		}
		last[e.Message] = at
		colour := colours[e.Level]
		if colour == "" {
			colour = "#666"
		}
		p(`<path d="M%.1f %dV%d" stroke="%s" stroke-dasharray="3 3"><title>%s %s: %s</title></path>`, at, latencyTop, connsTop+connsH, colour,
			short(e.At), html.EscapeString(e.Enclave), html.EscapeString(e.Message))
		p(`<circle cx="%.1f" cy="%d" r="3" fill="%s"/>`, at, latencyTop-6, colour)
	}
}

// connected draws active_conns of each enclave.
func connected(p func(string, ...any), r *Result, x func(time.Duration) float64) {
	most := 1
	ids := map[string]bool{}
	for _, s := range r.Samples {
		for id, n := range s.Conns {
			ids[id], most = true, max(most, n)
		}
	}
	y := func(n int) float64 { return connsTop + connsH*(1-float64(n)/float64(most)) }
	p(`<text x="%d" y="%d">active_conns</text>`, left, connsTop-8)
	for _, n := range []int{0, most} {
		p(`<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%d</text>`, left, y(n), width-right, left-6, y(n)+4, n)
	}
	for i, id := range slices.Sorted(maps.Keys(ids)) {
		colour := []string{"#7c3aed", "#0f766e"}[i%2]
		var d strings.Builder
		for _, s := range r.Samples {
			if d.Len() == 0 {
				fmt.Fprintf(&d, "M%.1f %.1f", x(s.At), y(s.Conns[id]))
				continue
			}
			fmt.Fprintf(&d, "H%.1fV%.1f", x(s.At), y(s.Conns[id]))
		}
		p(`<path d="%s" fill="none" stroke="%s" stroke-width="1.3"/>`, d.String(), colour)
		p(`<text x="%d" y="%d" fill="%s">%s</text>`, left+100+24*i, connsTop-8, colour, html.EscapeString(id))
	}
}
