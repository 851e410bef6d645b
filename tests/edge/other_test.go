//go:build !linux

package edge

import "testing"

// These tests count a process's descriptors in /proc, call from many addresses of
// loopback and drop packets between network namespaces.
func TestEdge(t *testing.T) { t.Fatal("the tests of the edge need Linux") }
