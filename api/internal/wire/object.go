// Package wire reads and writes the parts of the protocol that REST, SSE and WebSocket
// share: strict JSON objects, events to publish, start positions, ids and gap notices.
package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"
)

// An Object is a JSON object whose members are not parsed yet.
type Object struct {
	Fault   error // wrapped by the errors about members: problem.ErrBody or ErrMessage
	Members map[string]json.RawMessage
}

// ParseObject reads one JSON object that has only the known members, each at most once.
// (encoding/json alone takes the last of several, and "DATA" for "data".) If only the names
// of the members are wrong, it returns the known members together with the error.
func ParseObject(fault error, text []byte, known ...string) (Object, error) {
	o := Object{Fault: fault, Members: make(map[string]json.RawMessage)}
	if !utf8.Valid(text) {
		return o, fmt.Errorf("%w: not UTF-8", fault)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return o, fmt.Errorf("%w: not a JSON object", fault)
	}
	var wrongName error // about the first member that must not be there
	for dec.More() {
		name, value, err := member(dec)
		if err != nil {
			return o, fmt.Errorf("%w: %v", fault, err)
		}
		_, twice := o.Members[name]
		switch {
		case wrongName != nil:
		case twice:
			wrongName = fmt.Errorf("%w: field %q occurs twice", fault, name)
		case !slices.Contains(known, name):
			wrongName = fmt.Errorf("%w: unknown field %.40q", fault, name)
		}
		if slices.Contains(known, name) {
			o.Members[name] = value
		}
	}
	if _, err := dec.Token(); err != nil {
		return o, fmt.Errorf("%w: %v", fault, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return o, fmt.Errorf("%w: data follows the JSON object", fault)
	}
	return o, wrongName
}

// member reads one member of an object.
func member(dec *json.Decoder) (name string, value json.RawMessage, err error) {
	t, err := dec.Token()
	if err != nil {
		return "", nil, err
	}
	if err := dec.Decode(&value); err != nil {
		return "", nil, err
	}
	return t.(string), value, nil // within an object the decoder returns names as strings
}

// Text returns the member as a string, and whether it is present.
func (o Object) Text(name string) (s string, given bool, err error) {
	raw, given := o.Members[name]
	if !given {
		return "", false, nil
	}
	if raw[0] != '"' {
		return "", true, fmt.Errorf("%w: field %q is not a string", o.Fault, name)
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", true, fmt.Errorf("%w: field %q: %v", o.Fault, name, err)
	}
	return s, true, nil
}

// List returns the elements of the member, an array, and whether it is present.
func (o Object) List(name string) (values []json.RawMessage, given bool, err error) {
	raw, given := o.Members[name]
	if !given {
		return nil, false, nil
	}
	if raw[0] != '[' {
		return nil, true, fmt.Errorf("%w: field %q is not an array", o.Fault, name)
	}
	if err := json.Unmarshal(raw, &values); err != nil {
		return nil, true, fmt.Errorf("%w: field %q: %v", o.Fault, name, err)
	}
	return values, true, nil
}
