package ws

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
)

// serverFrame returns the frame that a server sends: it has no mask.
func serverFrame(opcode byte, payload string) []byte {
	frame := []byte(Frame(opcode, payload))
	size := headerSize(frame[1] &^ 0x80)
	frame[1] &^= 0x80
	return append(frame[:size:size], frame[size+4:]...)
}

// Both readers find frames of each header size.
func TestFrames(t *testing.T) {
	for _, size := range []int{0, 125, 126, 1<<16 - 1, 1 << 16} {
		payload := strings.Repeat("x", size)
		text := serverFrame(Text, payload)
		opcode, got, err := ReadFrame(bytes.NewReader(text))
		if opcode != Text || string(got) != payload || err != nil {
			t.Errorf("ReadFrame of %d bytes: opcode %d, %d bytes, %v", size, opcode, len(got), err)
		}
		opcode, got, rest, complete := CutFrame(append(text, "rest"...))
		if opcode != Text || string(got) != payload || string(rest) != "rest" || !complete {
			t.Errorf("CutFrame of %d bytes: opcode %d, %d bytes, %q left, %v", size, opcode, len(got), rest, complete)
		}
		for _, short := range []int{0, 1, len(text) - 1} {
			if _, _, _, complete := CutFrame(text[:short]); complete && short < len(text) {
				t.Errorf("CutFrame took %d of %d bytes for a frame", short, len(text))
			}
		}
	}
}

func TestCloseCode(t *testing.T) {
	if code := CloseCode(binary.BigEndian.AppendUint16(nil, 1012)); code != 1012 {
		t.Errorf("code %d, want 1012", code)
	}
	if code := CloseCode(nil); code != noCode {
		t.Errorf("code %d, want %d", code, noCode)
	}
}
