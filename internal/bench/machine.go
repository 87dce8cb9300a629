package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
)

// Machine is what the numbers were taken on.
type Machine struct {
	Go         string `json:"go"`
	Platform   string `json:"platform"`
	CPU        string `json:"cpu"` // empty: unknown
	CPUs       int    `json:"cpus"`
	GOMAXPROCS int    `json:"gomaxprocs"`
	Load       string `json:"load,omitempty"` // of the last minute, at the start; empty: unknown
}

func describeMachine() Machine {
	m := Machine{
		Go:         runtime.Version(),
		Platform:   runtime.GOOS + "/" + runtime.GOARCH,
		CPUs:       runtime.NumCPU(),
		GOMAXPROCS: runtime.GOMAXPROCS(0),
	}
	// Both files are Linux's; elsewhere the line says less.
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		m.CPU = cpuModel(string(info))
	}
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load, _, _ = strings.Cut(string(load), " ")
	}
	return m
}

// cpuModel finds the first processor's name in the text of /proc/cpuinfo.
func cpuModel(info string) string {
	for line := range strings.Lines(info) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (m Machine) String() string {
	s := fmt.Sprintf("%s %s, %s, %d CPUs, GOMAXPROCS %d", m.Go, m.Platform, m.CPU, m.CPUs, m.GOMAXPROCS)
	if m.CPU == "" {
		s = fmt.Sprintf("%s %s, %d CPUs, GOMAXPROCS %d", m.Go, m.Platform, m.CPUs, m.GOMAXPROCS)
	}
	if m.Load != "" {
		s += ", load " + m.Load + " at the start"
	}
	return s
}
