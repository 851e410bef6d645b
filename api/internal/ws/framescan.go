package ws

import "encoding/binary"

// smallFrame is the least payload, in bytes, of a continuation frame that does not count like
// a message. Clients that divide a message use frames of some kilobytes.
const smallFrame = 126

// A frameScanner finds the frames (RFC 6455, section 5.2) in the bytes that a client sends.
// The library hides the frames of a message: without the scanner, a client could send any
// number of empty ones within one message.
type frameScanner struct {
	head [14]byte // of the frame that is being read
	n    int      // bytes of head that have arrived
	skip uint64   // bytes of payload that have not arrived
}

// A frameHead is the part of a frame's head that the scanner reports.
type frameHead struct {
	final  bool
	opcode int
	size   uint64 // of the payload, in bytes
}

// smallPart reports whether the frame is a small part of a message, other than its first or
// its last.
func (h frameHead) smallPart() bool { return h.opcode == 0 && !h.final && h.size < smallFrame }

// scan calls found for each frame whose head is complete after b. It stops at the first
// error of found and returns it. Afterwards the scanner must not be used.
func (s *frameScanner) scan(b []byte, found func(frameHead) error) error {
	for {
		if s.skip > 0 {
			n := min(s.skip, uint64(len(b)))
			s.skip -= n
			b = b[n:]
		}
		if len(b) == 0 {
			return nil
		}
		s.head[s.n] = b[0]
		s.n++
		b = b[1:]
		if s.n < headSize(s.head[1], s.n) {
			continue
		}
		h := s.complete()
		if err := found(h); err != nil {
			return err
		}
	}
}

// headSize returns the size of a head whose second byte is length, if n bytes have arrived.
func headSize(length byte, n int) int {
	size := 2
	if n < size {
		return size
	}
	switch length & 0x7f {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if length&0x80 != 0 { // a mask
		size += 4
	}
	return size
}

// complete returns the head that has arrived, and prepares for the payload.
func (s *frameScanner) complete() frameHead {
	size := uint64(s.head[1] & 0x7f)
	switch size {
	case 126:
		size = uint64(binary.BigEndian.Uint16(s.head[2:]))
	case 127:
		size = binary.BigEndian.Uint64(s.head[2:])
	}
	s.n, s.skip = 0, size
	return frameHead{final: s.head[0]&0x80 != 0, opcode: int(s.head[0] & 0x0f), size: size}
}
