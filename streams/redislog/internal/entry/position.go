// Package entry encodes and decodes the values that a log keeps in Redis: positions, the
// entries of streams, and the messages on channels. Nodes of all versions share them, so
// the formats must not change.
package entry

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/tidemark/tidemark/streams"
)

// ErrForeign reports a value in Redis that Tidemark did not write.
var ErrForeign = errors.New("value was not written by Tidemark")

// Position returns id as "ms-seq", the form of Redis's entry ids.
func Position(id streams.ID) string {
	b := make([]byte, 0, 32)
	b = strconv.AppendUint(b, id.Millis(), 10)
	b = append(b, '-')
	return string(strconv.AppendUint(b, id.Seq(), 10))
}

// ParsePosition reads "ms-seq". The error is ErrForeign.
func ParsePosition(s string, p streams.Partition) (streams.ID, error) {
	first, second, ok := strings.Cut(s, "-")
	ms, err := strconv.ParseUint(first, 10, 48)
	seq, err2 := strconv.ParseUint(second, 10, 64)
	if !ok || err != nil || err2 != nil {
		return streams.ID{}, fmt.Errorf("position %.50q: %w", s, ErrForeign)
	}
	return streams.MakeID(ms, seq, p), nil
}
