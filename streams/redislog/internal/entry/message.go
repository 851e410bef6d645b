package entry

import (
	"fmt"
	"strings"

	"github.com/tidemark/tidemark/streams"
)

// ephemeralMark takes the place of prev in the message of an ephemeral event.
const ephemeralMark = "~"

// traceMark starts a trace message.
const traceMark = "trace "

// ParseMessage reads the message that scripts.Append publishes for an event:
// "ms-seq prev type data". The error is ErrForeign.
func ParseMessage(room streams.Room, p streams.Partition, s string) (*streams.Event, error) {
	parts := strings.SplitN(s, " ", 4)
	if len(parts) != 4 {
		return nil, fmt.Errorf("message %.50q: %w", s, ErrForeign)
	}
	e := &streams.Event{Room: room, Type: parts[2], Data: []byte(parts[3])}
	var err error
	if e.ID, err = ParsePosition(parts[0], p); err != nil {
		return nil, err
	}
	if parts[1] == ephemeralMark {
		e.Ephemeral = true
		return e, nil
	}
	e.Prev, err = ParsePosition(parts[1], p)
	return e, err
}

// A Trace is the trace of the event with that id. If a publish was traced, the message
// with its trace comes right before the message with its event.
type Trace struct {
	ID    streams.ID
	Trace streams.Trace
}

// IsTrace reports whether the message has a trace and no event.
func IsTrace(message string) bool { return strings.HasPrefix(message, traceMark) }

// ParseTrace reads a trace message: "trace ms-seq traceparent". The errors are ErrForeign
// and streams.ErrTrace.
func ParseTrace(p streams.Partition, s string) (t Trace, err error) {
	at, text, _ := strings.Cut(strings.TrimPrefix(s, traceMark), " ")
	if t.ID, err = ParsePosition(at, p); err != nil {
		return Trace{}, err
	}
	if t.Trace, err = streams.ParseTrace(text); err != nil {
		return Trace{}, err
	}
	return t, nil
}
