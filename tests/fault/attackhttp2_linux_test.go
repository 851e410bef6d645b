package fault_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
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

// historyOverHTTP2 asks for pages of history on many streams of one connection, with a
// window of 0.
func historyOverHTTP2(streams int) func(context.Context, *attackers) {
	return func(ctx context.Context, a *attackers) {
		var out bytes.Buffer
		out.Write(http2Opening(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}))
		f := http2.NewFramer(&out, nil)
		for i := range streams {
			_ = f.WriteHeaders(http2.HeadersFrameParam{
				StreamID: uint32(1 + 2*i), EndStream: true, EndHeaders: true,
				BlockFragment: headerBlock(fmt.Sprintf("/v1/rooms/%s/events?limit=1000", filledRoom(i%filledRooms)), a.token, "application/json"),
			})
		}
		a.repeat(ctx, 1, attackPause, func(ctx context.Context, _ int) {
			c := a.dial(ctx, 1, 0)
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

// readFrames counts what comes on a connection until it ends, or until so many streams have
// ended.
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
