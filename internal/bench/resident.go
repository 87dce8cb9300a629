package main

import (
	"os"
	"strconv"
	"strings"
)

// residentKiB is how much of this process is in memory; 0: unknown. The file is
// Linux's.
func residentKiB() float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, _ := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			return kib
		}
	}
	return 0
}
