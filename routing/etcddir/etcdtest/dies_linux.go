package etcdtest

import "syscall"

// diesWithUs: a test that is killed leaves no server behind.
func diesWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
