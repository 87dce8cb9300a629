//go:build !unix

package stack

import (
	"os"
	"syscall"
)

func attributes() *syscall.SysProcAttr { return nil }

// terminate kills: there is no signal that asks.
func terminate(p *os.Process) error { return p.Kill() }
