//go:build !unix

package hostile

import "os/exec"

func apart(*exec.Cmd) {}

func giveWay(int) {}
