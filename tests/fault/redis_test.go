package fault_test

import (
	"context"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
)

// prefix is the prefix of the nodes' keys in Redis.
const prefix = "tidemark"

// An entry is one event in the log.
type entry struct {
	id   streams.ID
	mark mark
}

// streamOf returns the key of a room's stream: see ARCHITECTURE.md.
func streamOf(r *room) string {
	return "{" + prefix + ":" + itoa(int(r.partition)) + "}:s:" + string(r.name)
}

// readStream returns the events of a room after a position, read directly from Redis.
func readStream(ctx context.Context, c redis.UniversalClient, r *room, after streams.ID) ([]entry, error) {
	const page = 2000
	var all []entry
	for {
		from := "(" + position(after)
		messages, err := c.XRangeN(ctx, streamOf(r), from, "+", page).Result()
		if err != nil {
			return nil, err
		}
		for _, m := range messages {
			data, _ := m.Values["data"].(string)
			after = parsePosition(m.ID, r.partition)
			number, _ := parseMark([]byte(data)) // an event of another origin gets the zero mark, which no client received
			all = append(all, entry{after, number})
		}
		if len(messages) < page {
			return all, nil
		}
	}
}

// position returns an id as Redis writes it.
func position(id streams.ID) string { return utoa(id.Millis()) + "-" + utoa(id.Seq()) }

func parsePosition(s string, p streams.Partition) streams.ID {
	ms, seq, _ := strings.Cut(s, "-")
	return streams.MakeID(atou(ms), atou(seq), p)
}
