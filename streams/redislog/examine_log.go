package redislog

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// maxScans bounds the calls of SCAN on each server, and scanCount the keys that
	// one looks at: some milliseconds of each server's time.
	maxScans  = 20
	scanCount = 500

	// maxCounted bounds the rooms whose events are counted.
	maxCounted = 1000
)

// A clockState is what a partition's clock says; the zero value stands for none.
type clockState struct {
	last, floor, partitions, version string
}

// state looks at the clocks of all partitions: is there a log, and does it fit?
func (x *examination) state(ctx context.Context) {
	const about = "log"
	prefix, want := x.log.opt.Prefix, len(x.log.partitions)
	var missing []string
	var newest, floor time.Time
	for _, p := range x.log.partitions {
		c, err := x.clockOf(ctx, p)
		switch {
		case err != nil:
			x.report.add(one(Problem, about, fmt.Sprintf("partition %d: %s", p.id, oneLine(err)), "It cannot be used.", "")...)
			return
		case c.last == "":
			missing = append(missing, fmt.Sprint(p.id))
			continue
		case c.version != layout:
			x.report.add(one(Problem, about, "layout "+c.version, "Another version of Tidemark wrote it: nodes of this one do not start on it.", "Use that version, or another --redis-prefix.")...)
			return
		case c.partitions != fmt.Sprint(want):
			x.report.add(one(Problem, about, fmt.Sprintf("partitions: %s, and %d were asked for", c.partitions, want), "Nodes with this setting do not start.", "Use --partitions "+c.partitions+".")...)
			return
		}
		newest, floor = later(newest, c.last, p), later(floor, c.floor, p)
	}
	switch {
	case len(missing) == want:
		x.report.add(one(Note, about, fmt.Sprintf("none under the prefix %q", prefix), "The first node creates it, with "+many(want, "partition")+".", "")...)
	case missing != nil:
		x.report.add(one(Warning, about, "partitions without a clock: "+strings.Join(missing, ", "), "Redis has lost them, or no node has been there yet. Nodes create them again, and tell readers of what they know to be lost.", "")...)
	default:
		x.report.add(one(OK, about, fmt.Sprintf("%s under the prefix %q, newest position %s, complete since %s", many(want, "partition"), prefix, stamp(newest), stamp(floor)), "", "")...)
	}
}

func many(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// layout is the version that createScript writes.
const layout = "1"

func (x *examination) clockOf(ctx context.Context, p *partition) (clockState, error) {
	values, err := ask(ctx, x.log.opt.Timeout, func(ctx context.Context) ([]any, error) {
		return x.log.client.HMGet(ctx, p.clock(), "last", "floor", "partitions", "version").Result()
	})
	if err != nil {
		return clockState{}, err
	}
	var c clockState
	for i, to := range []*string{&c.last, &c.floor, &c.partitions, &c.version} {
		*to, _ = values[i].(string)
	}
	return c, nil
}

// later returns the later of t and the time in a position.
func later(t time.Time, position string, p *partition) time.Time {
	id, err := parsePosition(position, p.id)
	if err == nil && id.Time().After(t) {
		return id.Time()
	}
	return t
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// A census is how many rooms and events a look at some keys found.
type census struct {
	rooms, events int64
	whole         bool // all keys were looked at, and all rooms counted
}

// rooms counts roughly, with a bounded number of calls and never with KEYS.
func (x *examination) rooms(ctx context.Context) {
	const about = "size"
	sum := census{whole: true}
	for _, c := range x.masters {
		one, err := x.count(ctx, c)
		if err != nil {
			x.report.add(Finding{Level: Note, About: about, Read: oneLine(err), Means: "It cannot be read how many rooms there are."})
			return
		}
		sum.rooms += one.rooms
		sum.events += one.events
		sum.whole = sum.whole && one.whole
	}
	atLeast := ""
	if !sum.whole {
		atLeast = "at least "
	}
	x.report.add(one(OK, about, atLeast+many(int(sum.rooms), "room")+" with "+many(int(sum.events), "event"), "", "")...)
}

// count looks for the streams of rooms on one server.
func (x *examination) count(ctx context.Context, c *redis.Client) (census, error) {
	var sum census
	var cursor uint64
	pattern := "{" + quoteGlob(x.log.opt.Prefix) + ":*}:s:*"
	for range maxScans {
		page, err := ask(ctx, x.log.opt.Timeout, func(ctx context.Context) (scanned, error) {
			keys, next, err := c.Scan(ctx, cursor, pattern, scanCount).Result()
			return scanned{keys, next}, err
		})
		if err != nil {
			return census{}, err
		}
		sum.rooms += int64(len(page.keys))
		if sum.rooms > maxCounted {
			return sum, nil
		}
		events, err := x.countEvents(ctx, c, page.keys)
		if err != nil {
			return census{}, err
		}
		sum.events += events
		if cursor = page.next; cursor == 0 {
			sum.whole = true
			return sum, nil
		}
	}
	return sum, nil
}

// scanned is a page of SCAN.
type scanned struct {
	keys []string
	next uint64
}

func (x *examination) countEvents(ctx context.Context, c *redis.Client, streams []string) (int64, error) {
	if len(streams) == 0 {
		return 0, nil
	}
	return ask(ctx, x.log.opt.Timeout, func(ctx context.Context) (int64, error) {
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

// quoteGlob makes a pattern that matches s alone.
func quoteGlob(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(s)
}
