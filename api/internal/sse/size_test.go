package sse

import (
	"testing"
	"unsafe"
)

// Every open stream costs one Stream, and a broadcast reads all of them. 288 bytes is a size
// class of Go's allocator. One byte more takes 320 bytes.
func TestStreamSize(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("the size is that of 64-bit systems")
	}
	const limit = 288
	if size := unsafe.Sizeof(Stream{}); size > limit {
		t.Errorf("a Stream takes %d bytes, want at most %d", size, limit)
	}
}
