package api_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/tidemark/tidemark/api"
)

// A connection whose client resets too many requests is closed. New connections of the same
// address and of others are accepted. (Package peers tests how many.)
func TestTooManyResets(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs a second loopback address")
	}
	h := start(t)
	web := &http.Server{Handler: h.api, ConnContext: api.ConnContext, Protocols: new(http.Protocols)}
	web.Protocols.SetUnencryptedHTTP2(true)
	f, c := h.framesTo(web)
	const most = 20_000 // the node may take a request and its reset together, and not count them
	var head bytes.Buffer
	enc := hpack.NewEncoder(&head)
	sent := 0
	for ; sent < most; sent++ {
		head.Reset()
		for _, field := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":authority", "x"}, {":path", "/v1/rooms/lobby/events"}} {
			_ = enc.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
		}
		stream := uint32(2*sent + 1)
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: head.Bytes(), EndHeaders: true}) // the body never comes
		_ = f.WriteRSTStream(stream, http2.ErrCodeCancel)
		if sent%50 == 49 && !pinged(f) {
			break
		}
	}
	if sent < 1000 || sent == most {
		t.Fatalf("the connection was open for %d resets", sent)
	}
	for _, from := range []string{"127.0.0.1", "127.0.0.2"} {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		other, err := d.Dial("tcp", c.RemoteAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		_ = other.SetDeadline(time.Now().Add(testTimeout))
		_, _ = io.WriteString(other, http2.ClientPreface)
		f := http2.NewFramer(other, other)
		_ = f.WriteSettings()
		if _, err := f.ReadFrame(); err != nil {
			t.Errorf("a connection from %s: %v", from, err)
		}
	}
}

// pinged reports whether the server answers a ping.
func pinged(f *http2.Framer) bool {
	if f.WritePing(false, [8]byte{}) != nil {
		return false
	}
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return false
		}
		if ping, ok := frame.(*http2.PingFrame); ok && ping.IsAck() {
			return true
		}
	}
}
