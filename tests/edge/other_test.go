//go:build !linux

package edge

import "testing"

// These tests count descriptors in /proc, use many loopback addresses and drop packets
// between network namespaces, which other systems do not offer.
func TestEdge(t *testing.T) { t.Fatal("the tests of the edge need Linux") }
