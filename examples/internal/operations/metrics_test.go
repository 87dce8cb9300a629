package operations

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	typeLine  = regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`)
	metricRow = regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| (\\w+) \\| ([^|]+) \\| ([^|]+) \\| (\\S+)")
	quoted    = regexp.MustCompile("`([a-z_]+)`")
)

// The table is what the rules and the dashboard are checked against, so it has to be the page: no name more or less.
func TestMetricsAreDescribedAsTheGatewayExportsThem(t *testing.T) {
	s := open(t, 2, "SIGN_CONN_POOL_MIN=2", "SIGN_CONN_POOL_MAX=2")
	exercise(t, s)

	described := map[string]string{}
	text, err := os.ReadFile(filepath.Join(docs, "observability/README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range metricRow.FindAllStringSubmatch(string(text), -1) {
		var labels []string
		for _, l := range quoted.FindAllStringSubmatch(row[4], -1) {
			labels = append(labels, l[1])
		}
		slices.Sort(labels)
		described[row[1]] = fmt.Sprintf("%s %v", row[2], labels)
	}

	exported := map[string]string{}
	page := read(t, "http://"+s.Gateway.HTTP+"/metrics")
	samples, err := s.Gateway.Metrics(limited(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range typeLine.FindAllStringSubmatch(page, -1) {
		name, kind := m[1], m[2]
		if strings.HasPrefix(name, "go_") || strings.HasPrefix(name, "process_") {
			continue
		}
		labels := map[string]bool{}
		for _, sample := range samples {
			if strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(sample.Name, "_bucket"), "_sum"), "_count") == name {
				for l := range sample.Labels {
					labels[l] = true
				}
			}
		}
		delete(labels, "le")
		exported[name] = fmt.Sprintf("%s %v", kind, slices.Sorted(maps.Keys(labels)))
	}
	for name, is := range exported {
		if described[name] != is {
			t.Errorf("%s is a %s, and docs/observability/README.md says: %q", name, is, described[name])
		}
	}
	for name, is := range described {
		if exported[name] == "" {
			t.Errorf("docs/observability/README.md describes %s (%s), which the gateway does not export", name, is)
		}
	}
}

// exercise makes everything occur that has no series before it does: a signature, and a loss with a recovery.
func exercise(t *testing.T, s *site) {
	t.Helper()
	ctx := limited(t)
	for i := range 20 { // some belong to each enclave
		key := map[string]string{"key_id": fmt.Sprint("k", i)}
		if err := s.Gateway.Post(ctx, "/v1/keys", key, &struct{}{}); err != nil {
			t.Fatal(err)
		}
		key["digest"] = strings.Repeat("0", 64)
		if err := s.Gateway.Post(ctx, "/v1/sign", key, &struct{}{}); err != nil {
			t.Fatal(err)
		}
	}
	s.Enclaves[0].Kill()
	if err := s.AwaitConns(ctx, "a", 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Enclaves[0].Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.AwaitConns(ctx, "a", 2); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, url string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
