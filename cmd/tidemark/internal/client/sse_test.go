package client

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

// A block that the end of the stream cuts short is not returned.
func TestBlockReader(t *testing.T) {
	t.Parallel()
	r := newBlockReader(strings.NewReader("retry: 250\nevent: a\nid: 1\ndata: x\ndata:  y\n\n: comment\r\nid\r\n\r\nid: 2\ndata: cut"))
	first, err := r.next()
	if want := (block{event: "a", id: "1", hasID: true, data: "x\n y", retry: 250e6}); err != nil || first != want {
		t.Errorf("got %+v, %v, want %+v", first, err, want)
	}
	second, err := r.next()
	if want := (block{hasID: true}); err != nil || second != want {
		t.Errorf("got %+v, %v, want %+v", second, err, want)
	}
	if b, err := r.next(); b != (block{}) || !errors.Is(err, io.EOF) {
		t.Errorf("got %+v, %v, want the end", b, err)
	}
}

// Cutting a stream anywhere yields a prefix of the blocks of the whole stream.
func FuzzCutStream(f *testing.F) {
	f.Add("retry: 1\nid: a\n\nevent: b\ndata: c\nid: d\n\n", uint(20))
	f.Add("data\r\n\r\n: c\n\n\n", uint(7))
	f.Fuzz(func(t *testing.T, text string, cut uint) {
		whole := blocks(text)
		part := blocks(text[:cut%uint(len(text)+1)])
		if len(part) > len(whole) || !slices.Equal(part, whole[:len(part)]) {
			t.Errorf("got %+v of %+v", part, whole)
		}
	})
}

func blocks(text string) (all []block) {
	for r := newBlockReader(strings.NewReader(text)); ; {
		b, err := r.next()
		if err != nil {
			return all
		}
		all = append(all, b)
	}
}
