package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/streams"
)

// A publish body is refused as the client's fault, or becomes a valid draft.
func FuzzPublishBody(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte) {
		event, err := ParseObject(problem.ErrBody, body, "type", "data")
		if err == nil {
			var d streams.Draft
			if d, err = ParseDraft("lobby", event, streams.DefaultMaxData); err == nil {
				checkDraft(t, d)
				if !json.Valid(body) {
					t.Errorf("%q is not JSON and was accepted", body)
				}
			}
		}
		checkRefusal(t, err)
	})
}

// A batch has the events that encoding/json reads, or is refused as the client's fault.
func FuzzBatch(f *testing.F) {
	for _, body := range []string{
		`{"events":[]}`, ` {"events" : [ {"room":"a"} ,1, "x,]}\"" ,[[]] ] } `, `{"\u0065vents":[null]}`, `{"events":[1,2,3,4,5,6]}`,
		`{"events":[1],"events":[2]}`, `{"event":[],"events":[1]}`, `{"events":{}}`, `{"events":[1`, `{"events":[1,]}`, `{"events":[1]}x`,
		`{"events":[1}`, `{"events":[1 2]}`, `{"events":["\x"]}`, `{"events":[01]}`, `{"events"[1]}`, `{"events":[1],}`, `[1]`, ``, `{`, "{\"events\":[\"\xff\"]}",
	} {
		f.Add([]byte(body))
	}
	const most = 4
	tooMany := fmt.Errorf("%w: on purpose", problem.ErrBatchTooLarge)
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := ParseBatch(problem.ErrBody, body, most, tooMany)
		want, valid := referenceBatch(body)
		switch {
		case err == nil && !(valid && slices.EqualFunc(got, want, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }) && len(got) <= most):
			t.Errorf("%q: %q; encoding/json has %q, %v", body, got, want, valid)
		case err == tooMany && valid && len(want) <= most:
			t.Errorf("%q has %d events and is too large", body, len(want))
		case err != nil && err != tooMany && valid:
			t.Errorf("%q: %v; encoding/json has %q", body, err, want)
		}
		checkRefusal(t, err)
	})
}

// referenceBatch reads a batch with encoding/json.
func referenceBatch(body []byte) (events []json.RawMessage, valid bool) {
	dec := json.NewDecoder(bytes.NewReader(body))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') || !utf8.Valid(body) {
		return nil, false
	}
	for n := 0; dec.More(); n++ {
		name, err := dec.Token()
		var value json.RawMessage
		if err != nil || name != "events" || n > 0 || dec.Decode(&value) != nil || value[0] != '[' || json.Unmarshal(value, &events) != nil {
			return nil, false
		}
	}
	_, inside := dec.Token()
	_, after := dec.Token()
	return events, events != nil && inside == nil && errors.Is(after, io.EOF)
}

// A start position is refused as the client's fault, or has a name for the logs.
func FuzzStartQuery(f *testing.F) {
	f.Fuzz(func(t *testing.T, since, last string) {
		start, err := ParseStart(since, last, time.Unix(1<<31, 0))
		checkRefusal(t, err)
		if err == nil && start.String() == "" {
			t.Errorf("since %q, last %q is nowhere", since, last)
		}
	})
}

// checkDraft checks that the parts of a draft are valid.
func checkDraft(t *testing.T, d streams.Draft) {
	t.Helper()
	if _, err := streams.ParseType(d.Type); err != nil || d.Type == "" {
		t.Errorf("type %q: %v", d.Type, err)
	}
	if again, err := streams.ParseData(d.Data, streams.DefaultMaxData); err != nil || string(again) != string(d.Data) {
		t.Errorf("data %q: %v", d.Data, err)
	}
}

// checkRefusal checks that err is nil or the client's fault, with a short text.
func checkRefusal(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if p := problem.Of(err); p.Status >= 500 || len(p.Detail) > 1000 {
		t.Errorf("%v is reported as %+v", err, p)
	}
}
