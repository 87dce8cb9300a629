//go:build !unix

package main

// needFiles knows of no limit here.
func needFiles(int) error { return nil }
