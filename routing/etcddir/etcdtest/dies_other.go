//go:build !linux

package etcdtest

import "syscall"

func diesWithUs() *syscall.SysProcAttr { return nil }
