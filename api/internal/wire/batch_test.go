package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/api/internal/problem"
)

// A batch is read only as far as its limit: not even a fault behind it is seen, and the
// memory that a refusal takes does not depend on the body.
func TestBatchIsReadUpToItsLimit(t *testing.T) {
	const most = 1000
	tooMany := errors.New("too many")
	body := []byte(`{"events":[1` + strings.Repeat(",1", 4<<20) + `,!`)
	for name, parse := range map[string]func() error{
		"events": func() error {
			_, err := ParseBatch(problem.ErrBody, body, most, tooMany)
			return err
		},
		"a list of an event": func() error {
			o := Object{Fault: problem.ErrBody}
			o.Members = map[string]json.RawMessage{"rooms": body[len(`{"events":`):]}
			_, _, err := o.List("rooms", most, tooMany)
			return err
		},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		err := parse()
		runtime.ReadMemStats(&after)
		if err != tooMany {
			t.Errorf("%s: %v", name, err)
		}
		if got := after.TotalAlloc - before.TotalAlloc; got > 200*most {
			t.Errorf("%s: a refusal takes %d bytes", name, got)
		}
	}
}

// The members of an object are not copied.
func TestObjectSharesItsText(t *testing.T) {
	text := []byte(`{"data": [1,2] , "type":"x"}`)
	o, err := ParseObject(problem.ErrBody, text, "data", "type")
	if err != nil {
		t.Fatal(err)
	}
	data := o.Members["data"]
	if at := bytes.Index(text, []byte("[1,2]")); &data[0] != &text[at] || string(data) != "[1,2]" || cap(data) != len(data) {
		t.Errorf("data is %q, a copy or with room behind it", data)
	}
}
