//go:build !unix

package conn

// writeOnce writes nothing: this system cannot be asked, so every write may block.
func (w *Writer) writeOnce(uintptr) bool { return true }

// readable returns true: this system cannot be asked, so the reader blocks instead.
func readable(uintptr) bool { return true }
