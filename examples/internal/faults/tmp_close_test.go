package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"runtime/trace"
	"testing"
	"time"

	"github.com/enclavepool/enclavepool/examples/internal/e2e/stack"
	"github.com/enclavepool/enclavepool/examples/internal/stall"
)

func TestTmpClose(t *testing.T) {
	dir, _ := os.MkdirTemp("", "fx")
	defer os.RemoveAll(dir)
	bin := filepath.Join(dir, "bin")
	os.Mkdir(bin, 0o700)
	s := settings{transport: stack.Unix, say: func(string) {}}
	var err error
	s.programs, err = stack.Find(t.Context(), bin, s.say, nil, "enclave")
	if err != nil {
		t.Fatal(err)
	}
	s.stalls = stall.Start()
	defer s.stalls.Stop()
	with(dir, "x", s, func(r *rig) error {
		a, err := r.enclave(t.Context(), "a")
		if err != nil {
			t.Fatal(err)
		}
		if f := os.Getenv("CPUPROF"); f != "" {
			w, _ := os.Create(f)
			pprof.StartCPUProfile(w)
			defer pprof.StopCPUProfile()
		}
		if f := os.Getenv("TRACE"); f != "" {
			w, _ := os.Create(f)
			trace.Start(w)
			defer trace.Stop()
		}
		fullest := newFullness()
		var took []time.Duration
		for range 8 {
			b := time.Now()
			c, err := row5Close(t.Context(), r, a, fullest)
			if err != nil {
				t.Fatal(err)
			}
			took = append(took, c.took)
			fmt.Println("close", c.took, "total", time.Since(b))
		}
		return nil
	})
}
