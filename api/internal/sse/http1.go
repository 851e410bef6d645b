package sse

import (
	"bytes"
	"net/http"
	"time"
)

// A chunk of a chunked body (RFC 9112, section 7.1) begins with its size, here in as many
// digits as any size needs.
const chunkHead = "00000000\r\n"

// closeChunk ends the chunk whose data begin at body, behind a chunkHead.
func closeChunk(b []byte, body int) []byte {
	const digits = "0123456789abcdef"
	for size, i := len(b)-body, body-3; size > 0; size, i = size>>4, i-1 {
		b[i] = digits[size&15]
	}
	return append(b, "\r\n"...)
}

// responseHead returns the head of a stream's response: the status line and h.
func responseHead(h http.Header, chunked bool) []byte {
	var w bytes.Buffer
	w.WriteString("HTTP/1.1 200 OK\r\n")
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	if chunked {
		h.Set("Transfer-Encoding", "chunked")
	} else {
		h.Set("Connection", "close")
	}
	_ = h.Write(&w) // into memory
	w.WriteString("\r\n")
	return w.Bytes()
}

func setStreamHeader(h http.Header) {
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store, no-transform")
	h.Set("X-Accel-Buffering", "no") // otherwise nginx holds events back
}
