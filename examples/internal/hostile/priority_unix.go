//go:build unix

package hostile

import (
	"os/exec"
	"syscall"
)

// apart makes a process group of the program that is about to be started.
func apart(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// giveWay has all threads of a process group run only when nobody else wants the processor. A real enclave has
// processors of its own, and takes none from the pool.
func giveWay(group int) {
	const lowest = 19
	_ = syscall.Setpriority(syscall.PRIO_PGRP, group, lowest) // where it is not permitted the figures are worse, and no more
}
