package main

import (
	"bytes"
	"fmt"
	"math"
)

// scalePlot draws four small plots over the number of enclaves, each from 0 or,
// where decades are to be seen, on a scale of decades.
func scalePlot(points []scalePoint) []byte {
	const width, height, gap = 300, 180, 70
	panels := []struct {
		title   string
		decades bool
		lines   []plotLine
	}{
		{"KiB per connection", false, []plotLine{
			{"heap in use + stacks", func(p scalePoint) float64 { return p.InUseKiB }},
			{"live objects", func(p scalePoint) float64 { return p.LiveKiB }}}},
		{"seconds", true, []plotLine{
			{"to Ready", func(p scalePoint) float64 { return p.Ready.Seconds() }},
			{"to Close", func(p scalePoint) float64 { return p.Close.Seconds() }}}},
		{"processors used by an idle pool", true, []plotLine{
			{"client", func(p scalePoint) float64 { return p.IdleCPU }},
			{"enclaves", func(p scalePoint) float64 { return p.IdleServerCPU }}}},
		{"ns, Acquire + Release", false, []plotLine{
			{"one enclave", func(p scalePoint) float64 { return p.AcquireOne }},
			{"all in turn", func(p scalePoint) float64 { return p.AcquireAll }}}},
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n", 2*(width+gap)+gap, 2*(height+gap)+gap/2)
	b.WriteString(`<rect width="100%" height="100%" fill="white"/>` + "\n")
	for i, panel := range panels {
		f := frame{x: gap + i%2*(width+gap), y: gap/2 + i/2*(height+gap), w: width, h: height, decades: panel.decades}
		f.fit(points, panel.lines)
		f.draw(&b, panel.title, points, panel.lines)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

type plotLine struct {
	name string
	of   func(scalePoint) float64
}

// frame is where one plot is, and what its edges stand for.
type frame struct {
	x, y, w, h int
	decades    bool
	low, high  float64
}

// fit chooses the edges so that all values are inside.
func (f *frame) fit(points []scalePoint, lines []plotLine) {
	f.low, f.high = math.Inf(1), 0
	for _, p := range points {
		for _, l := range lines {
			if v := l.of(p); p.Error == "" && v > 0 {
				f.low, f.high = min(f.low, v), max(f.high, v)
			}
		}
	}
	switch {
	case f.high == 0:
		f.low, f.high = 0, 1
	case f.decades:
		f.low, f.high = math.Pow(10, math.Floor(math.Log10(f.low))), math.Pow(10, math.Ceil(math.Log10(f.high)))
		if f.low == f.high {
			f.high *= 10
		}
	default:
		f.low, f.high = 0, f.high*1.1
	}
}

// height returns how far up a value is, from 0 to 1.
func (f *frame) height(v float64) float64 {
	if f.decades && f.low > 0 {
		return math.Log10(max(v, f.low)/f.low) / math.Log10(f.high/f.low)
	}
	return (v - f.low) / (f.high - f.low)
}

func (f *frame) at(i, n int, v float64) (x, y float64) {
	return float64(f.x) + float64(f.w)*(float64(i)+0.5)/float64(n), float64(f.y) + float64(f.h)*(1-f.height(v))
}

func (f *frame) draw(b *bytes.Buffer, title string, points []scalePoint, lines []plotLine) {
	colours := []string{"#1f5fa8", "#c8601a"}
	fmt.Fprintf(b, `<rect x="%d" y="%d" width="%d" height="%d" fill="none" stroke="#999"/>`+"\n", f.x, f.y, f.w, f.h)
	fmt.Fprintf(b, `<text x="%d" y="%d" font-weight="bold">%s</text>`+"\n", f.x, f.y-8, title)
	for _, v := range f.marks() {
		_, y := f.at(0, 1, v)
		fmt.Fprintf(b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%g</text>`+"\n",
			f.x, f.x+f.w, y, y, f.x-5, y+4, v)
	}
	for i, p := range points {
		x, _ := f.at(i, len(points), f.low)
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%d</text>`+"\n", x, f.y+f.h+15, p.Enclaves)
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle">enclaves</text>`+"\n", f.x+f.w/2, f.y+f.h+29)
	for n, l := range lines {
		path := ""
		for i, p := range points {
			if p.Error != "" {
				break // there is none after it
			}
			x, y := f.at(i, len(points), l.of(p))
			path += fmt.Sprintf("%.1f,%.1f ", x, y)
			fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x, y, colours[n])
		}
		fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", path, colours[n])
		fmt.Fprintf(b, `<text x="%d" y="%d" fill="%s">%s</text>`+"\n", f.x+8, f.y+16+14*n, colours[n], l.name)
	}
}

// marks are the values that have a line of their own.
func (f *frame) marks() (marks []float64) {
	if f.decades && f.low > 0 {
		for v := f.low; v <= f.high*1.001; v *= 10 {
			marks = append(marks, v)
		}
		return marks
	}
	step := math.Pow(10, math.Floor(math.Log10(f.high)))
	for f.high/step < 4 {
		step /= 2
	}
	for v := 0.0; v <= f.high; v += step {
		marks = append(marks, v)
	}
	return marks
}
