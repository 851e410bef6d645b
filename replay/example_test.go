package replay_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/streams"
)

func ExampleParseCursor() {
	cursor, err := replay.ParseCursor("01KDYAK3480000000000004000")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(cursor.Position(0).Time())

	// The client has received a later event.
	cursor = cursor.With(streams.MakeID(cursor.Position(0).Millis(), 3, 0))
	fmt.Println(cursor)

	_, err = replay.ParseCursor("yesterday")
	fmt.Println(errors.Is(err, replay.ErrCursor))
	// Output:
	// 2026-01-02 03:04:05 +0000 UTC
	// 01KDYAK3480000000000006000
	// true
}

func ExampleParseSince() {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, since := range []string{"earliest", "-15m", "2026-01-01T00:00:00Z", "01KDYAK3480000000000004000", "last week"} {
		fmt.Println(replay.ParseSince(since, now))
	}
	// Output:
	// earliest
	// since 2026-01-02T02:49:05Z
	// since 2026-01-01T00:00:00Z
	// after 01KDYAK3480000000000004000
	// unknown
}
