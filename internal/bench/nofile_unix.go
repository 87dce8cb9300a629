//go:build unix

package main

import (
	"fmt"
	"os"
	"syscall"
)

// needFiles makes sure that this process, and what it starts, may have n files
// open. It raises the soft limit; the hard one is the administrator's.
func needFiles(n int) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return os.NewSyscallError("getrlimit", err)
	}
	need := uint64(n)
	switch {
	case uint64(limit.Max) < need:
		return fmt.Errorf("needs %d open files and may have %d: raise the hard limit (ulimit -Hn %d, or LimitNOFILE)", n, limit.Max, n)
	case uint64(limit.Cur) >= need:
		return nil
	}
	limit.Cur = limit.Max
	return os.NewSyscallError("setrlimit", syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
}
