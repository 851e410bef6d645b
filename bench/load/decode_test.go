package load

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestDataIsReadBack(t *testing.T) {
	data := appendData(nil, 63, 123_456_789, 1_234_567_890_123_456_789)
	if len(data) != dataSize {
		t.Fatalf("appendData wrote %d bytes, want %d: %s", len(data), dataSize, data)
	}
	p, n, err := readData(data)
	if err != nil || p != 63 || n != 123_456_789 || sentAt(data) != 1_234_567_890_123_456_789 {
		t.Errorf("read as publisher %d, number %d, sent at %d: %v", p, n, sentAt(data), err)
	}
	for _, other := range []string{"", "1", `"hello"`, strings.Repeat("x", dataSize), string(appendData(nil, 64, 0, 0))} {
		if _, _, err := readData([]byte(other)); err == nil {
			t.Errorf("%.40q was accepted as event data", other)
		}
	}
}

// A sequence classifies events in every order in which a server can send them.
func TestSequence(t *testing.T) {
	for _, test := range []struct {
		name    string
		numbers []uint32
		want    []arrival
		holes   int
	}{
		{"in order", []uint32{5, 6, 7}, []arrival{expected, expected, expected}, 0},
		{"missing", []uint32{5, 8}, []arrival{expected, expected}, 2},
		{"repeated", []uint32{5, 6, 5, 6}, []arrival{expected, expected, repeated, repeated}, 0},
		{"swapped", []uint32{6, 5, 7}, []arrival{expected, late, expected}, 0},
		{"late, then repeated", []uint32{6, 5, 5}, []arrival{expected, late, repeated}, 0},
		{"older than the start", []uint32{4}, []arrival{repeated}, 0},
	} {
		var s sequence
		s.startAt([]uint32{0, 5})
		for i, n := range test.numbers {
			got, err := s.record(1, n)
			if err != nil || got != test.want[i] {
				t.Errorf("%s: event %d is %d, want %d: %v", test.name, n, got, test.want[i], err)
			}
		}
		if len(s.holes) != test.holes {
			t.Errorf("%s: %d missing, want %d", test.name, len(s.holes), test.holes)
		}
	}
}

func TestIDsRise(t *testing.T) {
	for _, test := range []struct {
		id, last string
		want     bool
	}{
		{"01KAJ3QA110000000000000000", "", true},
		{"01KAJ3QA110000000000000001", "01KAJ3QA110000000000000000", true},
		{"01KAJ3QA110000000000000000", "01KAJ3QA110000000000000000", false},
		{"01KAJ3QA100000000000000009", "01KAJ3QA110000000000000000", false},
		{"1700000000:10", "1700000000:9", true},
		{"1700000000:9", "1700000000:10", false},
		{"1700000001:0", "1700000000:99", true},
		{"1700000000:1", "1700000000:1", false},
		{"1700000000000-0", "1699999999999-7", true},
	} {
		if got := isAfter([]byte(test.id), []byte(test.last)); got != test.want {
			t.Errorf("rises(%s, %s) = %v", test.id, test.last, got)
		}
	}
}

func TestHeader(t *testing.T) {
	const whole = "HTTP/1.1 201 Created\r\nDate: now\r\ncontent-length: 12\r\n\r\n"
	for i := range len(whole) - 1 {
		if _, ok, err := readHeader([]byte(whole[:i])); ok || err != nil {
			t.Fatalf("%q was read as complete: %v", whole[:i], err)
		}
	}
	h, ok, err := readHeader([]byte(whole + "body"))
	if want := (header{size: len(whole), status: 201, length: 12}); !ok || err != nil || h != want {
		t.Errorf("read %+v, want %+v: %v", h, want, err)
	}
	h, _, _ = readHeader([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"))
	if !h.chunked || h.length != -1 {
		t.Errorf("a chunked answer was read as %+v", h)
	}
	if _, _, err := readHeader([]byte("SSH-2.0-OpenSSH\r\n\r\n")); err == nil {
		t.Error("an SSH banner was accepted as HTTP")
	}
}

// A chunked body decodes to the same data wherever it is split.
func TestChunksInParts(t *testing.T) {
	const body, want = "5\r\nhello\r\n1;x=y\r\n \r\n0a\r\n0123456789\r\n0\r\n\r\n", "hello 0123456789"
	for size := 1; size <= len(body); size++ {
		var c chunker
		var got []byte
		for part := range slices.Chunk([]byte(body), size) {
			n, err := c.decode(part)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, part[:n]...)
		}
		if string(got) != want || c.state != chunkLast {
			t.Fatalf("in parts of %d bytes: decoded %q, state %d", size, got, c.state)
		}
	}
	if _, err := new(chunker).decode([]byte("zz\r\n")); err == nil {
		t.Error("an invalid chunk size was accepted")
	}
}

func TestWholeBody(t *testing.T) {
	const chunked = "3\r\n{\"a\r\n4\r\n\":1}\r\n0\r\n\r\n"
	for i := range len(chunked) {
		if _, size, err := completeBody(header{chunked: true}, []byte(chunked[:i])); size >= 0 || err != nil {
			t.Fatalf("%q was read as complete: %v", chunked[:i], err)
		}
	}
	body, size, err := completeBody(header{chunked: true}, []byte(chunked+"HTTP/1.1"))
	if string(body) != `{"a":1}` || size != len(chunked) || err != nil {
		t.Errorf("completeBody = %q, %d bytes, %v", body, size, err)
	}
	if _, _, err := completeBody(header{length: -1}, nil); err == nil {
		t.Error("a body without an end was read as complete")
	}
}

func TestBlocks(t *testing.T) {
	for _, test := range []struct {
		text            string
		event, data, id string
	}{
		{"data: 1\nid: a\n\n", "", "1", "a"},
		{"id:a\ndata:1\n\n", "", "1", "a"},
		{": hi\n\n", "", "", ""},
		{"retry: 2\nevent: tidemark.open\ndata: {}\nid: b\n\n", "tidemark.open", "{}", "b"},
		{"data: 1\r\nid: c\r\n\r\n", "", "1", "c"},
		{"\n", "", "", ""},
	} {
		size, b := readBlock([]byte(test.text + "data: next"))
		if size != len(test.text) || string(b.event) != test.event || string(b.data) != test.data || string(b.id) != test.id {
			t.Errorf("%q was read as %d bytes, event %q, data %q, id %q", test.text, size, b.event, b.data, b.id)
		}
		for i := range len(test.text) {
			if size, _ := readBlock([]byte(test.text[:i])); size != 0 {
				t.Errorf("%q was read as complete", test.text[:i])
			}
		}
	}
}

func TestFrames(t *testing.T) {
	for _, n := range []int{0, 125, 126, 1 << 16} {
		frame := serverFrame(opText, bytes.Repeat([]byte("x"), n))
		size, op, payload, err := readFrame(frame)
		if size != len(frame) || op != opText || len(payload) != n || err != nil {
			t.Errorf("a frame with %d bytes of payload was read as %d bytes, op %d, payload %d: %v", n, size, op, len(payload), err)
		}
		if size, _, _, err := readFrame(frame[:len(frame)-1]); size != 0 || err != nil {
			t.Errorf("an incomplete frame was read as complete: %v", err)
		}
	}
	for _, bad := range [][]byte{{0x01, 0}, {0x81, 0x80}, {0xc1, 0}, {0x80, 0}, {0x81, 127, 1, 0, 0, 0, 0, 0, 0, 0}} {
		if _, _, _, err := readFrame(bad); err == nil {
			t.Errorf("%x was accepted as a frame", bad)
		}
	}
}

// serverFrame returns a frame as a server sends it.
func serverFrame(op byte, payload []byte) []byte {
	b := []byte{0x80 | op}
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = append(b, 126, byte(n>>8), byte(n))
	default:
		b = append(b, 127, 0, 0, 0, 0, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
	}
	return append(b, payload...)
}

func FuzzBlock(f *testing.F) {
	f.Add([]byte("data: 1\nid: a\n\n"))
	f.Add([]byte(": hi\r\n\r\nevent: tidemark.gap\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if size, _ := readBlock(b); size < 0 || size > len(b) {
			t.Errorf("readBlock = %d bytes of %d", size, len(b))
		}
	})
}

func FuzzFrame(f *testing.F) {
	f.Add(serverFrame(opText, []byte("hello")))
	f.Add(serverFrame(opPing, make([]byte, 70_000)))
	f.Fuzz(func(t *testing.T, b []byte) {
		size, _, payload, err := readFrame(b)
		if size < 0 || size > len(b) || len(payload) > size || err != nil && size != 0 {
			t.Errorf("readFrame = %d bytes, payload %d, of %d: %v", size, len(payload), len(b), err)
		}
	})
}

func FuzzHTTP(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ok, err := readHeader(b)
		if !ok || err != nil {
			return
		}
		body, size, err := completeBody(h, b[h.size:])
		if err == nil && size >= 0 && (h.size+size > len(b) || len(body) > size) {
			t.Errorf("completeBody = %d bytes, %d decoded, of %d", size, len(body), len(b))
		}
	})
}

// A client accepts or rejects any input without a panic, and splitting the input does
// not change the result.
func FuzzClient(f *testing.F) {
	event := appendData(nil, 0, 0, 0)
	f.Add(0, 9, fmt.Appendf(nil, "HTTP/1.1 200 OK\r\n\r\n: hi\n\ndata: %s\nid: 1:0\n\n", event))
	f.Add(0, 50, fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9f\r\ndata: %s\nid: 1:0\n\n\r\n", event))
	f.Add(1, 77, append([]byte("HTTP/1.1 101 Switching Protocols\r\n\r\n"), serverFrame(opText, event)...))
	f.Fuzz(func(t *testing.T, which, cut int, b []byte) {
		whole, err := feed(which, b)
		if cut <= 0 || cut >= len(b) || err != nil {
			return
		}
		parts, err := feed(which, b[:cut], b[cut:])
		if err != nil || whole != parts {
			t.Errorf("in one part %+v, in two parts %+v: %v", whole, parts, err)
		}
	})
}

// feed passes parts of a server's output to a client and returns the client's report.
func feed(which int, parts ...[]byte) (Report, error) {
	var p protocol = sse{}
	if which != 0 {
		p = webSocket{bare{}}
	}
	g := &Generator{opening: 1}
	c := &client{g: g, conn: conn{fd: -1}, target: &target{protocol: p}, room: &room{name: "r"}, state: requesting}
	for _, part := range parts {
		b := append(bytes.Clone(c.partial), part...)
		rest, err := c.consume(b, len(c.partial))
		if err != nil {
			return g.report, err
		}
		c.partial = bytes.Clone(rest)
	}
	return g.report, nil
}
