//go:build !linux

package main

import "syscall"

// limitSilence does nothing: this system has no such limit.
func limitSilence(_, _ string, _ syscall.RawConn) error { return nil }

// limitMode does nothing: here a socket has its mode once it has a name.
func limitMode(_, _ string, _ syscall.RawConn) error { return nil }
