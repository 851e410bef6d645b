package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/api/internal/problem"
)

// readBody returns the request's JSON body, of at most limit bytes.
func (s *Server) readBody(c echo.Context, limit int) ([]byte, error) {
	r, w := c.Request(), c.Response().Writer
	if err := checkJSON(r.Header); err != nil {
		return nil, err
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(s.opts.BodyTimeout)) // not every writer has deadlines
	stop := context.AfterFunc(s.cut, func() { _ = control.SetReadDeadline(time.Now()) })
	defer stop()
	var body bytes.Buffer
	// Most bodies are small, and then reading need not copy them to and fro. A large
	// one has to come first.
	body.Grow(int(min(max(r.ContentLength, 0), maxFirstRead)) + bytes.MinRead)
	_, err := body.ReadFrom(http.MaxBytesReader(w, r.Body, int64(limit)))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, fmt.Errorf("%w: want at most %d bytes", problem.ErrBodyTooLarge, limit)
	case err != nil:
		return nil, fmt.Errorf("%w: it ended early or took too long", problem.ErrBody)
	}
	// From here on net/http watches the connection, and takes a deadline for its end.
	_ = control.SetReadDeadline(time.Time{})
	return body.Bytes(), nil
}

// checkJSON refuses a body that says that it is something else.
func checkJSON(h http.Header) error {
	kind := h.Get(echo.HeaderContentType)
	if kind == "" {
		return nil
	}
	media, _, err := mime.ParseMediaType(kind)
	if err != nil || media != "application/json" {
		return fmt.Errorf("%w: %.80q, want application/json", problem.ErrMediaType, kind)
	}
	return nil
}

// An object is a JSON object whose members are not looked at yet.
type object struct {
	fault   error // what wrong members are: problem.ErrBody or problem.ErrMessage
	members map[string]json.RawMessage
}

// parseObject reads one JSON object that has only the known members, each at most
// once. (encoding/json on its own takes the last of several, and "DATA" for
// "data".) Where only the members' names are wrong, the object comes with the error.
func parseObject(fault error, text []byte, known ...string) (object, error) {
	o := object{fault: fault, members: make(map[string]json.RawMessage)}
	if !utf8.Valid(text) {
		return o, fmt.Errorf("%w: not UTF-8", fault)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return o, fmt.Errorf("%w: not a JSON object", fault)
	}
	var odd error // about the first member that should not be there
	for dec.More() {
		name, value, err := member(dec)
		if err != nil {
			return o, fmt.Errorf("%w: %v", fault, err)
		}
		_, twice := o.members[name]
		switch {
		case odd != nil:
		case twice:
			odd = fmt.Errorf("%w: field %q twice", fault, name)
		case !slices.Contains(known, name):
			odd = fmt.Errorf("%w: unknown field %.40q", fault, name)
		}
		if slices.Contains(known, name) {
			o.members[name] = value
		}
	}
	if _, err := dec.Token(); err != nil {
		return o, fmt.Errorf("%w: %v", fault, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return o, fmt.Errorf("%w: something follows the JSON object", fault)
	}
	return o, odd
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
	return t.(string), value, nil // within an object the decoder gives names as strings
}

// text returns the member as a string, and whether there is one.
func (o object) text(name string) (s string, given bool, err error) {
	raw, given := o.members[name]
	if !given {
		return "", false, nil
	}
	if raw[0] != '"' {
		return "", true, fmt.Errorf("%w: field %q is not a string", o.fault, name)
	}
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", true, fmt.Errorf("%w: field %q: %v", o.fault, name, err)
	}
	return s, true, nil
}

// list returns the member as an array of whatever, and whether there is one.
func (o object) list(name string) (values []json.RawMessage, given bool, err error) {
	raw, given := o.members[name]
	if !given {
		return nil, false, nil
	}
	if raw[0] != '[' {
		return nil, true, fmt.Errorf("%w: field %q is not an array", o.fault, name)
	}
	if err := json.Unmarshal(raw, &values); err != nil {
		return nil, true, fmt.Errorf("%w: field %q: %v", o.fault, name, err)
	}
	return values, true, nil
}
