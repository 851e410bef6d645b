package sse

import (
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/streams"
)

// The delays before a client reconnects. Each stream gets up to half as much in addition,
// so that clients which were disconnected together do not reconnect together.
const (
	retryNormal = 2 * time.Second // after an interruption
	retryDrain  = 2 * time.Second // while the node drains: other nodes answer
	retryOutage = 5 * time.Second // while the log does not answer or the node is full

	// at a connection limit: a slot of a crashed node is released after half a minute,
	// and tabs that a user has left open keep theirs
	retryTooMany = 10 * time.Second
)

// appendError appends an error block. It has no id, so the client's cursor stays.
func appendError(b []byte, p *problem.Document) []byte {
	b = append(b, "event: tidemark.error\n"...)
	b = appendJSON(b, struct {
		Code   string `json:"code"`
		Detail string `json:"detail"`
	}{p.Code, p.Detail})
	return append(b, '\n')
}

// appendComment appends an empty comment, which keeps proxies from closing the stream.
func appendComment(b []byte) []byte { return append(b, ":\n\n"...) }

// appendRetry appends the line that sets the client's delay before it reconnects.
func appendRetry(b []byte, base time.Duration) []byte {
	wait := base + rand.N(base/2)
	b = append(b, "retry: "...)
	b = strconv.AppendInt(b, wait.Milliseconds(), 10)
	return append(b, '\n')
}

// appendJSON appends a data line with v as JSON.
func appendJSON(b []byte, v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // cannot happen with strings and numbers
	}
	b = append(b, "data: "...)
	b = append(b, data...)
	return append(b, '\n')
}

// The encodings of an event that all streams share: see streams.Event.Encoded.

// block is a whole block for a stream of one room.
func block(e *streams.Event) []byte { return appendEventID(appendBody(nil, e), e) }

// wrappedBlock is a whole block for a stream of several rooms.
func wrappedBlock(e *streams.Event) []byte { return appendEventID(wrappedBody(e), e) }

// wrappedBody is wrappedBlock without its id line.
func wrappedBody(e *streams.Event) []byte {
	b := appendType(nil, e)
	b = append(b, `data: {"room":"`...)
	b = append(b, e.Room...)
	b = append(b, `","data":`...)
	b = append(b, e.Data...)
	return append(b, "}\n"...)
}

// appendBody appends a block for a stream of one room, without its id line.
func appendBody(b []byte, e *streams.Event) []byte {
	b = appendType(b, e)
	b = append(b, "data: "...)
	b = append(b, e.Data...)
	return append(b, '\n')
}

// appendEventID appends the id line that ends a block.
func appendEventID(b []byte, e *streams.Event) []byte {
	b = append(b, "id: "...)
	b, _ = e.ID.AppendText(b) // never fails
	return append(b, "\n\n"...)
}

// appendType appends the event line, which the default type does not need.
func appendType(b []byte, e *streams.Event) []byte {
	if e.Type == streams.DefaultType {
		return b
	}
	b = append(b, "event: "...)
	b = append(b, e.Type...)
	return append(b, '\n')
}
