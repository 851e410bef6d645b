package wire

import (
	"encoding/json"
	"testing"
	"time"

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
