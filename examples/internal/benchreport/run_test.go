package benchreport_test

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/benchreport"
	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
)

// A short run of two scenarios: what it writes has to be whole. Whether the criteria are met
// is the machine's business here.
func TestAReportHasEveryFigureAndPlot(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	programs, err := stack.Find(ctx, t.TempDir(), func(string) {}, nil, "enclave", "gateway")
	if err != nil {
		t.Fatal(err)
	}
	r, err := benchreport.Run(ctx, benchreport.Config{
		Duration: 2 * time.Second, Callers: 20, Programs: programs, Transport: stack.Unix, Only: []string{"restart"},
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "new")
	if err := r.Write(dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "report.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"## Steady load", "](steady.svg)", "## An enclave restarts", "](restart.svg)", "pool_dials_total",
		"a connection for each request", "p99"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("report.md lacks %q", want)
		}
	}
	var data benchreport.Report
	raw, err := os.ReadFile(filepath.Join(dir, "data.json"))
	if err == nil {
		err = json.Unmarshal(raw, &data)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(data.Results) != 2 {
		t.Fatalf("%d scenarios in data.json, want 2", len(data.Results))
	}
	for _, res := range data.Results {
		wellFormed(t, filepath.Join(dir, res.Name+".svg"))
		if res.Load.Succeeded == 0 || len(res.Samples) < 2 || len(res.Criteria) < 4 {
			t.Errorf("%s: %d calls, %d samples, %d criteria", res.Name, res.Load.Succeeded, len(res.Samples), len(res.Criteria))
		}
	}
	restart := data.Results[1]
	if restart.Disturb == nil || restart.Disturb.Listening <= restart.Disturb.Began {
		t.Errorf("the restart was at %+v", restart.Disturb)
	}
	if !strings.Contains(string(text), "enclave recovered") {
		t.Error("the events of the restart are missing from the report")
	}
}

func wellFormed(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	d := xml.NewDecoder(f)
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Errorf("%s: %v", filepath.Base(path), err)
			return
		}
	}
}

func TestABadConfigurationIsRefusedWhole(t *testing.T) {
	_, err := benchreport.Run(t.Context(), benchreport.Config{Only: []string{"tornado"}})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"duration", "callers", "tornado"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}
