package ws

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"

	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/api/internal/wire"
	"github.com/tidemark/tidemark/streams"
)

// maxRef bounds the ref of a message, in bytes, which its answer repeats.
const maxRef = 128

// A request is a parsed message of the client.
type request struct {
	wire.Object
	op  string
	ref json.RawMessage
}

// parseRequest parses a message. If only the ref could be read, it is returned with the
// error.
func parseRequest(text []byte) (m request, err error) {
	m.Object, err = wire.ParseObject(problem.ErrMessage, text, "op", "room", "since", "last", "type", "data", "key", "durability", "token", "ref")
	ref, refErr := parseRef(m.Members["ref"])
	m.ref = ref
	if err = cmp.Or(err, refErr); err != nil {
		return m, err
	}
	var given bool
	if m.op, given, err = m.Text("op"); err == nil && !given {
		err = fmt.Errorf("%w: field \"op\" is missing", problem.ErrMessage)
	}
	return m, err
}

// parseRef accepts a short string or number.
func parseRef(raw json.RawMessage) (json.RawMessage, error) {
	if raw == nil {
		return nil, nil
	}
	if len(raw) > maxRef || !bytes.ContainsAny(raw[:1], `"-0123456789`) {
		return nil, fmt.Errorf("%w: field \"ref\" is not a string or a number of at most %d bytes", problem.ErrMessage, maxRef)
	}
	return raw, nil
}

// room returns the room that the message names.
func (m request) room() (streams.Room, error) {
	name, given, err := m.Text("room")
	if err != nil {
		return "", err
	}
	if !given {
		return "", fmt.Errorf("%w: field \"room\" is missing", problem.ErrMessage)
	}
	return streams.ParseRoom(name)
}
