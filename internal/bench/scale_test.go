package main

import (
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func tinyScale() scalePlan {
	return scalePlan{enclaves: []int{1, 2}, conns: 2, interval: 100 * time.Millisecond, mostProbes: 1000,
		idle: 200 * time.Millisecond, acquires: 1000, limit: time.Minute}
}

func TestTheCurveOverEnclavesIsMeasuredAndWrittenDown(t *testing.T) {
	dir := t.TempDir()
	var stderr strings.Builder
	if status := runScale(t.Context(), tinyScale(), dir, &stderr); status != 0 {
		t.Fatalf("status %d: %s", status, stderr.String())
	}
	page, err := os.ReadFile(filepath.Join(dir, "scale.md"))
	if err != nil || !strings.Contains(string(page), "| connections | 2 | 4 |") || !strings.Contains(string(page), "What bounds it") {
		t.Errorf("%v in %s", err, page)
	}
	plot, err := os.Open(filepath.Join(dir, "scale.svg"))
	if err != nil {
		t.Fatal(err)
	}
	defer plot.Close()
	for d := xml.NewDecoder(plot); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestACurveThatRunsOutOfTimeSaysSo(t *testing.T) {
	p := tinyScale()
	p.limit = time.Millisecond
	points := p.measure(t.Context(), io.Discard)
	if len(points) != 1 || points[0].Error == "" {
		t.Errorf("%+v", points)
	}
	if page := string(p.page(Machine{}, time.Now(), points)); !strings.Contains(page, "not measured") {
		t.Error(page)
	}
}

func TestTooFewOpenFilesAreToldBeforehand(t *testing.T) {
	if err := needFiles(1 << 40); err == nil {
		t.Skip("this system sets no limit")
	} else if !strings.Contains(err.Error(), "hard limit") {
		t.Error(err)
	}
}
