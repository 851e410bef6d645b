package redislog

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tidemark/tidemark/streams"
)

// errForeign reports a value in Redis that this package did not write.
var errForeign = errors.New("not written by Tidemark")

// ephemeralMark stands in a message for the position before an ephemeral event.
const ephemeralMark = "~"

// position writes id as Redis does.
func position(id streams.ID) string {
	b := make([]byte, 0, 32)
	b = strconv.AppendUint(b, id.Millis(), 10)
	b = append(b, '-')
	return string(strconv.AppendUint(b, id.Seq(), 10))
}

// parsePosition reads "ms-seq". The error is errForeign.
func parsePosition(s string, p streams.Partition) (streams.ID, error) {
	first, second, ok := strings.Cut(s, "-")
	ms, err := strconv.ParseUint(first, 10, 48)
	seq, err2 := strconv.ParseUint(second, 10, 64)
	if !ok || err != nil || err2 != nil {
		return streams.ID{}, fmt.Errorf("position %.50q: %w", s, errForeign)
	}
	return streams.MakeID(ms, seq, p), nil
}

// A noted trace is that of an event whose message comes next.
type noted struct {
	id    streams.ID
	trace streams.Trace
}

// traceMark starts the message that goes before an event's own where the publish was
// traced: "trace ms-seq traceparent".
const traceMark = "trace "

// parseNoted reads such a message. The errors are errForeign and streams.ErrTrace.
func parseNoted(p streams.Partition, s string) (n noted, err error) {
	at, text, _ := strings.Cut(strings.TrimPrefix(s, traceMark), " ")
	if n.id, err = parsePosition(at, p); err != nil {
		return noted{}, err
	}
	if n.trace, err = streams.ParseTrace(text); err != nil {
		return noted{}, err
	}
	return n, nil
}

// parseMessage reads what appendScript publishes: "ms-seq prev type data", with
// ephemeralMark for prev where the event was not logged. The error is errForeign.
func parseMessage(room streams.Room, p streams.Partition, s string) (*streams.Event, error) {
	parts := strings.SplitN(s, " ", 4)
	if len(parts) != 4 {
		return nil, fmt.Errorf("message %.50q: %w", s, errForeign)
	}
	e := &streams.Event{Room: room, Type: parts[2], Data: []byte(parts[3])}
	var err error
	if e.ID, err = parsePosition(parts[0], p); err != nil {
		return nil, err
	}
	if parts[1] == ephemeralMark {
		e.Ephemeral = true
		return e, nil
	}
	e.Prev, err = parsePosition(parts[1], p)
	return e, err
}

// parseEntry reads an entry of a stream: its id, and prev, type and data. It
// returns the id also of an entry that is not an event. The error is errForeign.
func parseEntry(room streams.Room, p streams.Partition, entry any) (id string, e *streams.Event, err error) {
	pair, _ := entry.([]any)
	if len(pair) != 2 {
		return "", nil, fmt.Errorf("entry of %d parts: %w", len(pair), errForeign)
	}
	id, _ = pair[0].(string)
	values, _ := pair[1].([]any)
	fields, err := parseFields(values)
	if err != nil {
		return id, nil, err
	}
	e = &streams.Event{Room: room, Type: fields[1], Data: []byte(fields[2])}
	if e.ID, err = parsePosition(id, p); err != nil {
		return id, nil, err
	}
	e.Prev, err = parsePosition(fields[0], p)
	return id, e, err
}

// parseFields returns the values of prev, type and data, which must be all fields there are.
func parseFields(values []any) (fields [3]string, err error) {
	names := [...]string{"prev", "type", "data"}
	if len(values) != 2*len(names) {
		return fields, fmt.Errorf("%d fields and values: %w", len(values), errForeign)
	}
	for i, name := range names {
		value, ok := values[2*i+1].(string)
		if values[2*i] != name || !ok {
			return fields, fmt.Errorf("field %.50v: %w", values[2*i], errForeign)
		}
		fields[i] = value
	}
	return fields, nil
}
