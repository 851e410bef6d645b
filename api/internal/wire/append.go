package wire

import (
	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/streams"
)

// AppendID appends id as a JSON string.
func AppendID(b []byte, id streams.ID) []byte {
	b = append(b, '"')
	b, _ = id.AppendText(b) // never fails
	return append(b, '"')
}

// AppendGap appends the members of a gap notice, without braces. Rooms and reasons need no
// escaping in JSON.
func AppendGap(b []byte, g *replay.Gap) []byte {
	b = append(b, `"room":"`...)
	b = append(b, g.Room...)
	b = append(b, `","after":`...)
	b = AppendID(b, g.After)
	b = append(b, `,"before":`...)
	b = AppendID(b, g.Before)
	b = append(b, `,"reason":"`...)
	b = append(b, g.Reason...)
	return append(b, '"')
}
