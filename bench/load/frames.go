package load

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// WebSocket opcodes.
const (
	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10
)

var errFrame = errors.New("invalid WebSocket frame from the server")

// readFrame parses the frame at the start of b and returns its size, or 0 if the frame
// is incomplete. Servers send unmasked frames. None of the measured servers fragments
// messages.
func readFrame(b []byte) (size int, op byte, payload []byte, err error) {
	if len(b) < 2 {
		return 0, 0, nil, nil
	}
	if b[0]&0xf0 != 0x80 || b[1]&0x80 != 0 || b[0]&0xf == 0 {
		return 0, 0, nil, fmt.Errorf("%w: %x", errFrame, b[:2])
	}
	start, length := 2, uint64(b[1])
	switch {
	case length == 126:
		start = 4
	case length == 127:
		start = 10
	}
	if len(b) < start {
		return 0, 0, nil, nil
	}
	switch start {
	case 4:
		length = uint64(binary.BigEndian.Uint16(b[2:]))
	case 10:
		length = binary.BigEndian.Uint64(b[2:])
	}
	if length > maxMessage {
		return 0, 0, nil, fmt.Errorf("%w: payload of %d bytes", errFrame, length)
	}
	size = start + int(length)
	if len(b) < size {
		return 0, 0, nil, nil
	}
	return size, b[0] & 0xf, b[start:size], nil
}

// appendFrame appends a client frame. Its mask is zero, so the payload is sent
// unchanged.
func appendFrame(b []byte, op byte, payload []byte) []byte {
	b = append(b, 0x80|op)
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}
