package ws

import (
	"encoding/binary"
	"io"
)

// Opcodes of frames (RFC 6455, 5.2).
const (
	Text   = 1
	Binary = 2
	Close  = 8
	Ping   = 9
	Pong   = 10
)

// Frame returns a client's frame. Its mask is zero, so that the payload stays readable.
func Frame[T ~string | ~[]byte](opcode byte, payload T) string {
	b := []byte{0x80 | opcode}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return string(append(append(b, 0, 0, 0, 0), payload...))
}

// headerSize returns the size of a server's frame header, given its second byte.
func headerSize(length byte) int {
	switch length {
	case 126:
		return 4
	case 127:
		return 10
	}
	return 2
}

// payloadSize returns the payload size that a complete header of a server's frame states.
func payloadSize(header []byte) uint64 {
	switch len(header) {
	case 4:
		return uint64(binary.BigEndian.Uint16(header[2:]))
	case 10:
		return binary.BigEndian.Uint64(header[2:])
	}
	return uint64(header[1])
}

// ReadFrame reads one frame of a server. Tidemark sends each message as one frame.
func ReadFrame(in io.Reader) (opcode byte, payload []byte, err error) {
	header := make([]byte, 10)
	if _, err := io.ReadFull(in, header[:2]); err != nil {
		return 0, nil, err
	}
	header = header[:headerSize(header[1])]
	if _, err := io.ReadFull(in, header[2:]); err != nil {
		return 0, nil, err
	}
	payload = make([]byte, payloadSize(header))
	_, err = io.ReadFull(in, payload)
	return header[0] &^ 0x80, payload, err
}

// CutFrame splits the first complete frame of a server off text. payload points into
// text. It returns false if text has no complete frame.
func CutFrame(text []byte) (opcode byte, payload, rest []byte, complete bool) {
	if len(text) < 2 {
		return 0, nil, nil, false
	}
	from := headerSize(text[1])
	if len(text) < from {
		return 0, nil, nil, false
	}
	n := payloadSize(text[:from])
	if uint64(len(text)-from) < n {
		return 0, nil, nil, false
	}
	end := from + int(n)
	return text[0] &^ 0x80, text[from:end], text[end:], true
}

// noCode is the code of a close frame without a code (RFC 6455, 7.1.5).
const noCode = 1005

// CloseCode returns the code in the payload of a close frame.
func CloseCode(payload []byte) int {
	if len(payload) < 2 {
		return noCode
	}
	return int(binary.BigEndian.Uint16(payload))
}
