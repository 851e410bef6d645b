package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/streams"
)

// A publish body is either refused as one known kind of problem, or becomes a
// draft whose parts are what the contract allows.
func FuzzPublishBody(f *testing.F) {
	s := New(nil, nil)
	f.Fuzz(func(t *testing.T, body []byte) {
		event, err := parseObject(problem.ErrBody, body, "type", "data")
		if err == nil {
			var d streams.Draft
			if d, err = s.draft("lobby", event); err == nil {
				checkDraft(t, d)
				if !json.Valid(body) {
					t.Errorf("%q is not JSON and was taken", body)
				}
			}
		}
		checkRefusal(t, err)
	})
}

// A batch is refused as a whole, or each of its events has a result or a draft
// that one waits for.
func FuzzBatchEvent(f *testing.F) {
	s := New(nil, nil)
	f.Fuzz(func(t *testing.T, text []byte) {
		var b batch
		r, err := s.addEvent(&b, text)
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

// A message is understood or refused in one frame of JSON, whatever it says.
func FuzzWebSocketMessage(f *testing.F) {
	s := New(nil, &Options{MaxRooms: 1}) // which is used up, so that no subscribe goes further than the edge
	s.beginDraining()                    // and no publish either
	f.Fuzz(func(t *testing.T, text []byte) {
		k := &socket{line: line{server: s}, rooms: []streams.Room{"lobby"}}
		k.room.L = &k.mu
		k.serve([]message{{text: text}})
		answers := k.takeAnswers()
		if len(answers) != 1 {
			t.Fatalf("%q got %d answers", text, len(answers))
		}
		frame := answers[0].frame
		var said struct{ Op string }
		if err := json.Unmarshal(frame, &said); err != nil || !utf8.Valid(frame) {
			t.Errorf("%q was answered with %q: %v", text, frame, err)
		}
		switch said.Op {
		case "pong", "error", "unsubscribed":
		default:
			t.Errorf("%q was answered with %q", text, frame)
		}
	})
}

// Every block of the stream ends where an empty line is, and nowhere else: no
// data can end a block early or begin a field of its own.
func FuzzBlocks(f *testing.F) {
	f.Fuzz(func(t *testing.T, kind string, data []byte) {
		kind, err := streams.ParseType(kind)
		if err != nil {
			return
		}
		compact, err := streams.ParseData(data, streams.DefaultMaxData)
		if err != nil {
			return
		}
		for _, wrapped := range []bool{false, true} {
			b := string(newEncoder(wrapped, opening()).item(nil, eventItem(2, 0, kind, string(compact))))
			lines := strings.FieldsFunc(b, func(r rune) bool { return r == '\n' || r == '\r' })
			want := 2
			if kind != streams.DefaultType {
				want = 3
			}
			if len(lines) != want || !strings.HasSuffix(b, "\n\n") || strings.Count(b, "\n\n") != 1 {
				t.Errorf("%q", b)
			}
		}
	})
}

func opening() replay.Cursor { return replay.CursorAt(testID(1, 0)) }

func FuzzStartQuery(f *testing.F) {
	f.Fuzz(func(t *testing.T, since, last string) {
		start, err := parseStart(since, last, time.Unix(1<<31, 0))
		checkRefusal(t, err)
		if err == nil && start.String() == "" {
			t.Errorf("since %q, last %q is nowhere", since, last)
		}
	})
}

// A request's name that is taken is short, and stands in a header and in a log's JSON as
// it came: nothing in it has to be quoted, ends a line or looks like something else.
func FuzzRequestID(f *testing.F) {
	for _, id := range []string{"a-b.c_1", "00-4bf92f3577b34da6-01", "a=b/c+d:e", "", " a", "a b", `a"b`, `a\b`, "a\r\nb: c", "a\x00", "a\x7f", "é", "<a>", "a;b", strings.Repeat("x", 129)} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		if !saneRequestID(id) {
			return
		}
		if id == "" || len(id) > maxRequestID {
			t.Errorf("%d bytes were taken", len(id))
		}
		if strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"'`\\,;<>(){}[]%$", r) }) {
			t.Errorf("%q was taken", id)
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

// checkDraft holds a draft to what streams promises of one.
func checkDraft(t *testing.T, d streams.Draft) {
	t.Helper()
	if _, err := streams.ParseType(d.Type); err != nil || d.Type == "" {
		t.Errorf("type %q: %v", d.Type, err)
	}
	if again, err := streams.ParseData(d.Data, streams.DefaultMaxData); err != nil || string(again) != string(d.Data) {
		t.Errorf("data %q: %v", d.Data, err)
	}
}

// checkRefusal makes sure that an error is one that a client can act on.
func checkRefusal(t *testing.T, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if p := problem.Of(err); p.Status >= 500 || len(p.Detail) > 1000 {
		t.Errorf("%v is told as %+v", err, p)
	}
}
