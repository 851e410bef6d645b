package sse

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

func TestReader(t *testing.T) {
	stream := "retry: 2500\nevent: tidemark.open\ndata: {\"node\":\"n1\"}\nid: A\n\n" +
		":\n\n" + "id: B\n\n" + "data: 1\ndata: 2\nid: C\n\n" + "data: cut o"
	want := []Block{
		{Event: "tidemark.open", Data: `{"node":"n1"}`, ID: "A", Retry: 2500 * time.Millisecond},
		{},
		{ID: "B"},
		{Data: "1\n2", ID: "C"},
	}
	r := NewReader(strings.NewReader(stream))
	for i, want := range want {
		got, err := r.Next()
		if got.Text = ""; err != nil || got != want {
			t.Errorf("block %d: %+v, %v; want %+v", i, got, err, want)
		}
	}
	if _, err := r.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last complete block: %v", err)
	}
}

func TestReaderRefusesUnknownFields(t *testing.T) {
	if b, err := NewReader(strings.NewReader("date: 1\n\n")).Next(); err == nil {
		t.Errorf("accepted %+v", b)
	}
}

func TestCut(t *testing.T) {
	block, rest, complete := Cut([]byte("id: A\n\nid: B\n"))
	if string(block) != "id: A" || string(rest) != "id: B\n" || !complete {
		t.Errorf("%q, %q, %v", block, rest, complete)
	}
	if _, rest, complete := Cut(rest); complete {
		t.Errorf("%q is not a complete block", rest)
	}
}
