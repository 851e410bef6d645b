package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/streams"
)

// A batch is refused as a whole, or each of its events has a complete result or one that
// waits for a draft.
func FuzzBatchEvent(f *testing.F) {
	p := &publisher{opts: &Options{MaxBatch: DefaultMaxBatch, MaxData: streams.DefaultMaxData}, problems: New(nil, nil).env.Problems}
	f.Fuzz(func(t *testing.T, text []byte) {
		b := batch{memory: &bodyMemory{}, rooms: DefaultMaxBatch, tooMany: problem.ErrBatchTooLarge}
		r, err := p.addEvent(&b, text)
		checkRefusal(t, err)
		for _, d := range b.drafts {
			checkDraft(t, d)
			if _, err := streams.ParseRoom(string(d.Room)); err != nil {
				t.Error(err)
			}
		}
		if err == nil && r.Error == nil && len(r.Rooms) == 0 && len(b.drafts) != 1 {
			t.Errorf("%q: no error, and %d drafts", text, len(b.drafts))
		}
	})
}

// An accepted request id is short and needs no quoting in a header or in a JSON log: it ends
// no line and contains no delimiter.
func FuzzRequestID(f *testing.F) {
	for _, id := range []string{"a-b.c_1", "00-4bf92f3577b34da6-01", "a=b/c+d:e", "", " a", "a b", `a"b`, `a\b`, "a\r\nb: c", "a\x00", "a\x7f", "é", "<a>", "a;b", strings.Repeat("x", 129)} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		if !validRequestID(id) {
			return
		}
		if id == "" || len(id) > maxRequestID {
			t.Errorf("%d bytes were accepted", len(id))
		}
		if strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"'`\\,;<>(){}[]%$", r) }) {
			t.Errorf("%q was accepted", id)
		}
		var header strings.Builder
		if err := (http.Header{headerRequestID: {id}}).Write(&header); err != nil || header.String() != headerRequestID+": "+id+"\r\n" {
			t.Errorf("in a header it is %q, %v", &header, err)
		}
		if text, err := json.Marshal(id); err != nil || string(text) != `"`+id+`"` {
			t.Errorf("in a log it is %s, %v", text, err)
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
