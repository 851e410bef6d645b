package fault_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/tidemark/tidemark/tests/internal/ws"
)

// upgrade opens a WebSocket. It reports whether the node did.
func (c *attackConn) upgrade() bool {
	if !c.send(c.by.get("/v1/ws", "Connection: Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")) {
		return false
	}
	resp := c.response(bufio.NewReaderSize(c, 16)) // reads the header only
	return resp != nil && resp.StatusCode == http.StatusSwitchingProtocols
}

// socketsUnread subscribes to all filled rooms from their beginning and stops reading.
func socketsUnread(clients int) func(context.Context, *attackers) {
	var text strings.Builder
	for i := range filledRooms {
		text.WriteString(ws.Frame(ws.Text, fmt.Sprintf(`{"op":"subscribe","room":%q,"since":"earliest"}`, filledRoom(i))))
	}
	return func(ctx context.Context, a *attackers) {
		a.repeat(ctx, clients, attackPause, func(ctx context.Context, i int) {
			c := a.dial(ctx, 1+i%4, smallBuffer)
			if c == nil {
				return
			}
			defer c.Close()
			if c.upgrade() && c.send(text.String()) {
				c.hold(ctx)
			}
		})
	}
}

// emptyFrames begins a message and continues it with empty frames without an end.
func emptyFrames(clients int) func(context.Context, *attackers) {
	const first, empty = "\x01\x80\x00\x00\x00\x00", "\x00\x80\x00\x00\x00\x00"
	many := strings.Repeat(empty, 10_000)
	return func(ctx context.Context, a *attackers) {
		a.repeat(ctx, clients, attackPause, func(ctx context.Context, i int) {
			c := a.dial(ctx, 1, smallBuffer)
			if c == nil {
				return
			}
			defer c.Close()
			for ok := c.upgrade() && c.send(first); ok && ctx.Err() == nil; ok = c.send(many) {
				a.answered("10,000 empty frames")
			}
		})
	}
}

// answersUnread sends messages with long refs and does not read the answers.
func answersUnread(clients int) func(context.Context, *attackers) {
	ref := strings.Repeat("r", 120)
	many := strings.Repeat(ws.Frame(ws.Text, fmt.Sprintf(`{"op":"unsubscribe","room":"x","ref":%q}`, ref)), 100)
	return func(ctx context.Context, a *attackers) {
		a.repeat(ctx, clients, attackPause, func(ctx context.Context, i int) {
			c := a.dial(ctx, 1+i%4, smallBuffer)
			if c == nil {
				return
			}
			defer c.Close()
			for ok := c.upgrade(); ok && ctx.Err() == nil; ok = c.send(many) {
			}
		})
	}
}

// longMessages sends messages of the maximum size, most of it white space, and reads the
// answers.
func longMessages(clients int) func(context.Context, *attackers) {
	text := ws.Frame(ws.Text, `{"op":"publish","room":"long","data":1`+strings.Repeat(" ", 130<<10)+`}`)
	return func(ctx context.Context, a *attackers) {
		a.token = a.plan.Publish
		a.repeat(ctx, clients, attackPause, func(ctx context.Context, i int) {
			c := a.dial(ctx, 1+i%4, 0)
			if c == nil {
				return
			}
			defer c.Close()
			if !c.upgrade() {
				return
			}
			var reading sync.WaitGroup
			defer reading.Wait()
			reading.Go(func() {
				n, _ := io.Copy(io.Discard, c)
				a.bytes.Add(n)
			})
			defer c.Close()
			for ok := true; ok && ctx.Err() == nil; ok = c.send(text) {
			}
		})
	}
}

// subscriptionsChurned subscribes to filled rooms from their beginning and leaves them again,
// as fast as the node reads, and reads everything.
func subscriptionsChurned(clients int) func(context.Context, *attackers) {
	var text strings.Builder
	for i := range filledRooms {
		text.WriteString(ws.Frame(ws.Text, fmt.Sprintf(`{"op":"subscribe","room":%q,"since":"earliest"}`, filledRoom(i))))
		text.WriteString(ws.Frame(ws.Text, fmt.Sprintf(`{"op":"unsubscribe","room":%q}`, filledRoom(i))))
	}
	return func(ctx context.Context, a *attackers) {
		a.repeat(ctx, clients, attackPause, func(ctx context.Context, i int) {
			c := a.dial(ctx, 1+i%4, 0)
			if c == nil {
				return
			}
			defer c.Close()
			if !c.upgrade() {
				return
			}
			var reading sync.WaitGroup
			defer reading.Wait()
			reading.Go(func() {
				n, _ := io.Copy(io.Discard, c)
				a.bytes.Add(n)
			})
			defer c.Close()
			for ok := true; ok && ctx.Err() == nil; ok = c.send(text.String()) {
			}
		})
	}
}
