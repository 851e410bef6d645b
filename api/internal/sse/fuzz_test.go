package sse

import (
	"strings"
	"testing"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/streams"
)

// Every block ends with its only empty line: data can neither end a block early nor begin a
// field of its own.
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
			b := string(newEncoder(wrapped, replay.CursorAt(testID(1, 0))).item(nil, eventItem(2, 0, kind, string(compact))))
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
