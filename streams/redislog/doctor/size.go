package doctor

import (
	"context"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams/redislog/internal/rediserr"
)

const (
	// maxScans bounds the calls of SCAN on each server, and scanCount the keys that one
	// call visits. Together they take some milliseconds of each server's time.
	maxScans  = 20
	scanCount = 500

	// maxCounted bounds the rooms whose events are counted.
	maxCounted = 1000
)

// A size is the number of rooms and events that a scan found.
type size struct {
	rooms, events int64
	complete      bool // the scan visited all keys and counted all rooms
}

// countRooms counts rooms and events with a bounded number of calls, and never with KEYS.
// In a large log the result is a lower bound.
func (x *examination) countRooms(ctx context.Context) {
	const about = "size"
	sum := size{complete: true}
	for _, c := range x.primaries {
		one, err := x.countOn(ctx, c)
		if err != nil {
			x.report.add(Note, about, rediserr.OneLine(err), "The doctor cannot count the rooms.", "Run doctor as a user with the further permissions in docs/redis.md.")
			return
		}
		sum.rooms += one.rooms
		sum.events += one.events
		sum.complete = sum.complete && one.complete
	}
	atLeast := ""
	if !sum.complete {
		atLeast = "at least "
	}
	x.report.add(OK, about, atLeast+count(int(sum.rooms), "room")+" with "+count(int(sum.events), "event"), "", "")
}

// countOn counts the streams of rooms on one server.
func (x *examination) countOn(ctx context.Context, c *redis.Client) (size, error) {
	var sum size
	var cursor uint64
	pattern := "{" + quoteGlob(x.opt.Prefix) + ":*}:s:*"
	for range maxScans {
		page, err := ask(ctx, x.opt.Timeout, func(ctx context.Context) (scanPage, error) {
			keys, next, err := c.Scan(ctx, cursor, pattern, scanCount).Result()
			return scanPage{keys, next}, err
		})
		if err != nil {
			return size{}, err
		}
		sum.rooms += int64(len(page.keys))
		if sum.rooms > maxCounted {
			return sum, nil
		}
		events, err := x.countEvents(ctx, c, page.keys)
		if err != nil {
			return size{}, err
		}
		sum.events += events
		if cursor = page.next; cursor == 0 {
			sum.complete = true
			return sum, nil
		}
	}
	return sum, nil
}

// A scanPage is a reply of SCAN.
type scanPage struct {
	keys []string
	next uint64
}

func (x *examination) countEvents(ctx context.Context, c *redis.Client, streams []string) (int64, error) {
	if len(streams) == 0 {
		return 0, nil
	}
	return ask(ctx, x.opt.Timeout, func(ctx context.Context) (int64, error) {
		pipe := c.Pipeline()
		for _, key := range streams {
			pipe.XLen(ctx, key)
		}
		replies, err := pipe.Exec(ctx)
		var sum int64
		for _, r := range replies {
			sum += r.(*redis.IntCmd).Val()
		}
		return sum, err
	})
}

// quoteGlob returns a pattern that matches s alone.
func quoteGlob(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(s)
}
