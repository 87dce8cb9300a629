package benchreport

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/prometheus/procfs"
)

// Report is one run of all scenarios.
type Report struct {
	Started   time.Time     `json:"started"`
	Elapsed   time.Duration `json:"elapsed_ns"`
	Duration  time.Duration `json:"duration_ns"` // of the steady load
	Callers   int           `json:"callers"`
	Transport string        `json:"transport"`
	Machine   string        `json:"machine"`
	Command   string        `json:"command"`
	Results   []*Result     `json:"results"`
	Starts    *Starts       `json:"starts"`
}

// Met tells whether every criterion of every scenario is.
func (r *Report) Met() bool {
	for _, res := range r.Results {
		for _, c := range res.Criteria {
			if !c.Met {
				return false
			}
		}
	}
	return true
}

// Summary writes every criterion, one a line, and where the report is.
func (r *Report) Summary(w io.Writer, dir string) error {
	var b strings.Builder
	for _, res := range r.Results {
		fmt.Fprintf(&b, "%s: %.0f calls/s, p50 %s, p99 %s, max %s\n", res.Title, res.Load.Throughput, short(res.Load.Latency.P50), short(res.Load.Latency.P99), short(res.Load.Latency.Max))
		for _, c := range res.Criteria {
			verdict := "met    "
			if !c.Met {
				verdict = "NOT MET"
			}
			fmt.Fprintf(&b, "  %s  %s: %s\n", verdict, strings.ReplaceAll(c.Text, "`", ""), c.Found)
		}
	}
	fmt.Fprintf(&b, "report: %s\n", filepath.Join(dir, "report.md"))
	_, err := io.WriteString(w, b.String())
	return err
}

// machine says what it ran on.
func machine() string {
	parts := []string{fmt.Sprintf("%d CPUs, %s/%s, %s", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			if d.Path == "google.golang.org/grpc" {
				parts = append(parts, "grpc-go "+d.Version)
			}
		}
	}
	if fs, err := procfs.NewDefaultFS(); err == nil {
		if cpus, err := fs.CPUInfo(); err == nil && len(cpus) > 0 {
			parts = append(parts, cpus[0].ModelName)
		}
		if l, err := fs.LoadAvg(); err == nil {
			parts = append(parts, fmt.Sprintf("load average %.2f at the start", l.Load1))
		}
	}
	return strings.Join(parts, ", ")
}

// Write writes report.md, its plots and data.json into the folder dir.
func (r *Report) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, res := range r.Results {
		if err := os.WriteFile(filepath.Join(dir, res.Name+".svg"), []byte(plot(res)), 0o644); err != nil {
			return err
		}
	}
	data, err := json.Marshal(r.small())
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "data.json"), append(data, '\n'), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "report.md"), []byte(r.markdown()), 0o644)
}

// small is the report without what makes it large and says little: of the samples one in so
// many, of the intervals their figures alone.
func (r *Report) small() *Report {
	const most = 300
	out := *r
	out.Results = nil
	for _, res := range r.Results {
		c := *res
		l := *res.Load
		step := max(1, len(l.Intervals)/most)
		l.Intervals = thin(l.Intervals, step)
		c.Load, c.Samples = &l, thin(c.Samples, max(1, len(c.Samples)/most))
		out.Results = append(out.Results, &c)
	}
	return &out
}

func thin[T any](all []T, step int) []T {
	var out []T
	for i := 0; i < len(all); i += step {
		out = append(out, all[i])
	}
	return out
}
