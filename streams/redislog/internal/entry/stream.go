package entry

import (
	"fmt"

	"github.com/tidemark/tidemark/streams"
)

// Parse reads an entry of a stream: its id and the fields prev, type and data. It returns
// the id even if the entry is not an event, so that a reader can skip the entry. The error
// is ErrForeign.
func Parse(room streams.Room, p streams.Partition, entry any) (id string, e *streams.Event, err error) {
	pair, _ := entry.([]any)
	if len(pair) != 2 {
		return "", nil, fmt.Errorf("entry of %d parts: %w", len(pair), ErrForeign)
	}
	id, _ = pair[0].(string)
	values, _ := pair[1].([]any)
	fields, err := parseFields(values)
	if err != nil {
		return id, nil, err
	}
	e = &streams.Event{Room: room, Type: fields[1], Data: []byte(fields[2])}
	if e.ID, err = ParsePosition(id, p); err != nil {
		return id, nil, err
	}
	e.Prev, err = ParsePosition(fields[0], p)
	return id, e, err
}

// Size returns the bytes of an entry's fields and values, also if the entry is not an event.
func Size(entry any) (n int) {
	pair, _ := entry.([]any)
	if len(pair) != 2 {
		return 0
	}
	values, _ := pair[1].([]any)
	for _, value := range values {
		text, _ := value.(string)
		n += len(text)
	}
	return n
}

// parseFields returns the values of prev, type and data. An entry with any other field is
// not an event.
func parseFields(values []any) (fields [3]string, err error) {
	names := [...]string{"prev", "type", "data"}
	if len(values) != 2*len(names) {
		return fields, fmt.Errorf("%d fields and values: %w", len(values), ErrForeign)
	}
	for i, name := range names {
		value, ok := values[2*i+1].(string)
		if values[2*i] != name || !ok {
			return fields, fmt.Errorf("field %.50v: %w", values[2*i], ErrForeign)
		}
		fields[i] = value
	}
	return fields, nil
}
