// Package wire reads and writes the parts of the protocol that REST, SSE and WebSocket
// share: strict JSON objects, events to publish, start positions, ids and gap notices.
package wire

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"unicode/utf8"
)

// An Object is a JSON object whose members are not parsed yet. They share the memory of the
// text that it was read from.
type Object struct {
	Fault   error // wrapped by the errors about members: problem.ErrBody or ErrMessage
	Members map[string]json.RawMessage
}

// ParseObject reads one JSON object that has only the known members, each at most once.
// (encoding/json alone takes the last of several, and "DATA" for "data".) The members share
// the memory of text. If only the names of the members are wrong, it returns the known
// members together with the error.
func ParseObject(fault error, text []byte, known ...string) (Object, error) {
	o := Object{Fault: fault, Members: make(map[string]json.RawMessage)}
	names := memberNames{fault: fault, known: known}
	err := readObject(fault, text, func(r *reader, name string) error {
		names.check(name)
		value, err := r.value()
		if err != nil {
			return fmt.Errorf("%w: %v", fault, err)
		}
		if slices.Contains(known, name) {
			o.Members[name] = value
		}
		return nil
	})
	return o, cmp.Or(err, names.wrong)
}

// ParseBatch reads a JSON object whose only member is events, an array, and returns its
// elements, which share the memory of text. If it has more than most elements, ParseBatch
// returns tooMany and reads no further. It knows no other error than fault and tooMany.
func ParseBatch(fault error, text []byte, most int, tooMany error) (events []json.RawMessage, err error) {
	const member = "events"
	names := memberNames{fault: fault, known: []string{member}}
	err = readObject(fault, text, func(r *reader, name string) error {
		names.check(name)
		if name == member && names.wrong == nil {
			events, err = r.list(fault, member, most, tooMany)
			return err
		}
		if _, err := r.value(); err != nil {
			return fmt.Errorf("%w: %v", fault, err)
		}
		return nil
	})
	if err = cmp.Or(err, names.wrong); err == nil && names.seen == 0 {
		err = fmt.Errorf("%w: field %q is missing", fault, member)
	}
	if err != nil {
		return nil, err
	}
	return events, nil
}

// readObject reads text, which must be one JSON object in UTF-8. It calls member with the name
// of each member. member must read the value, and its error ends the reading.
func readObject(fault error, text []byte, member func(r *reader, name string) error) error {
	if !utf8.Valid(text) {
		return fmt.Errorf("%w: not UTF-8", fault)
	}
	r := &reader{text}
	if r.skipSpace(); len(r.rest) == 0 || r.rest[0] != '{' {
		return fmt.Errorf("%w: not a JSON object", fault)
	}
	var refused error // by member
	err := r.object(func(name string) error {
		refused = member(r, name)
		return refused
	})
	switch {
	case refused != nil:
		return refused
	case err != nil:
		return fmt.Errorf("%w: %v", fault, err)
	}
	if r.skipSpace(); len(r.rest) > 0 {
		return fmt.Errorf("%w: data follows the JSON object", fault)
	}
	return nil
}

// memberNames checks the names of an object's members.
type memberNames struct {
	fault error
	known []string // at most 64
	seen  uint64   // one bit for each of known
	wrong error    // about the first member that must not be there
}

// check notes the next name.
func (n *memberNames) check(name string) {
	i := slices.Index(n.known, name)
	switch {
	case n.wrong != nil:
	case i < 0:
		n.wrong = fmt.Errorf("%w: unknown field %.40q", n.fault, name)
	case n.seen&(1<<i) != 0:
		n.wrong = fmt.Errorf("%w: field %q occurs twice", n.fault, name)
	default:
		n.seen |= 1 << i
	}
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

// List returns the elements of the member, an array, and whether it is present. If it has
// more than most elements, List returns tooMany and reads no further.
func (o Object) List(name string, most int, tooMany error) (values []json.RawMessage, given bool, err error) {
	raw, given := o.Members[name]
	if !given {
		return nil, false, nil
	}
	values, err = (&reader{raw}).list(o.Fault, name, most, tooMany)
	return values, true, err
}

// list reads the member of that name, an array of at most most elements.
func (r *reader) list(fault error, name string, most int, tooMany error) (values []json.RawMessage, err error) {
	if r.skipSpace(); len(r.rest) > 0 && r.rest[0] != '[' {
		return nil, fmt.Errorf("%w: field %q is not an array", fault, name)
	}
	err = r.array(func(v json.RawMessage) error {
		if len(values) == most {
			return tooMany
		}
		values = append(values, v)
		return nil
	})
	if err != nil && err != tooMany {
		return nil, fmt.Errorf("%w: field %q: %v", fault, name, err)
	}
	return values, err
}
