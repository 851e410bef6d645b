package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// errEnd reports a JSON text that is incomplete.
var errEnd = errors.New("unexpected end of JSON input")

// A reader reads a JSON text from its start. It copies no value: each one shares the text's
// memory. It reads as far as its caller asks, so a caller that stops early does not pay for
// the rest.
type reader struct{ rest []byte }

// skipSpace skips white space.
func (r *reader) skipSpace() {
	i := 0
	for i < len(r.rest) && isSpace(r.rest[i]) {
		i++
	}
	r.rest = r.rest[i:]
}

// isSpace reports whether c is white space of JSON.
func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

// skip skips white space and then c. It reports false if another byte follows.
func (r *reader) skip(c byte) bool {
	r.skipSpace()
	if len(r.rest) == 0 || r.rest[0] != c {
		return false
	}
	r.rest = r.rest[1:]
	return true
}

// unexpected returns the error about the next byte.
func (r *reader) unexpected(want string) error {
	if len(r.rest) == 0 {
		return errEnd
	}
	return fmt.Errorf("invalid character %q, want %s", r.rest[0], want)
}

// value reads one value.
func (r *reader) value() (json.RawMessage, error) {
	r.skipSpace()
	n := valueEnd(r.rest)
	v := json.RawMessage(r.rest[:n:n])
	if !json.Valid(v) {
		if n == 0 {
			return nil, r.unexpected("a value")
		}
		return nil, syntaxError(v)
	}
	r.rest = r.rest[n:]
	return v, nil
}

// valueEnd returns where the value at the start of text ends. It only tells strings and
// brackets apart: its caller checks the value.
func valueEnd(text []byte) int {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			if quoted = !quoted; !quoted && depth == 0 {
				return i + 1
			}
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				return i + 1
			}
			if depth < 0 {
				return i // the end of what contains a number or a literal
			}
		case depth == 0 && (c == ',' || c == ':' || c == ' ' || c == '\t' || c == '\r' || c == '\n'):
			return i
		}
	}
	return len(text)
}

// syntaxError returns the error of a value that is not JSON.
func syntaxError(v []byte) error {
	var none struct{}
	err := json.Unmarshal(v, &none)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return syntax
	}
	return errEnd // cannot happen: the value is not JSON
}

// object reads an object. It calls member with the name of each member. member must read the
// value, and its error ends the reading.
func (r *reader) object(member func(name string) error) error {
	return r.sequence('{', '}', func() error {
		r.skipSpace()
		if len(r.rest) > 0 && r.rest[0] != '"' {
			return r.unexpected("a name")
		}
		raw, err := r.value()
		if err != nil {
			return err
		}
		name := string(raw[1 : len(raw)-1])
		if strings.Contains(name, `\`) {
			if err := json.Unmarshal(raw, &name); err != nil {
				return err
			}
		}
		if !r.skip(':') {
			return r.unexpected("a colon")
		}
		return member(name)
	})
}

// array reads an array. It calls element with each element, whose error ends the reading.
func (r *reader) array(element func(json.RawMessage) error) error {
	return r.sequence('[', ']', func() error {
		v, err := r.value()
		if err != nil {
			return err
		}
		return element(v)
	})
}

// sequence reads items that are separated by commas, between two brackets.
func (r *reader) sequence(open, end byte, item func() error) error {
	if !r.skip(open) {
		return r.unexpected("'" + string(open) + "'")
	}
	if r.skip(end) {
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		switch {
		case r.skip(','):
		case r.skip(end):
			return nil
		default:
			return r.unexpected("',' or '" + string(end) + "'")
		}
	}
}
