package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tidemark/tidemark/streams/redislog/internal/entry"
	"github.com/tidemark/tidemark/streams/redislog/internal/keys"
	"github.com/tidemark/tidemark/streams/redislog/internal/rediserr"
	"github.com/tidemark/tidemark/streams/redislog/internal/scripts"
)

// A clockState is the content of a partition's clock. The zero value means that the
// partition has no clock.
type clockState struct {
	last, floor, partitions, version string
}

// checkLog reads the clocks of all partitions, and checks that a log exists and fits the
// options.
func (x *examination) checkLog(ctx context.Context) {
	const about = "log"
	prefix, want := x.opt.Prefix, len(x.partitions)
	var missing []string
	var newest, floor time.Time
	for i := range x.partitions {
		p := &x.partitions[i]
		c, err := x.readClock(ctx, p)
		switch {
		case err != nil:
			x.report.add(Problem, about, fmt.Sprintf("partition %d: %s", p.ID, rediserr.OneLine(err)), "The rooms of this partition are unavailable.", "Check the server that has the partition.")
			return
		case c.last == "":
			missing = append(missing, fmt.Sprint(p.ID))
			continue
		case c.version != scripts.Layout:
			x.report.add(Problem, about, "layout "+c.version, "Another version of Tidemark wrote the log. Nodes of this version do not start on it.", "Use that version, or another --redis-prefix.")
			return
		case c.partitions != fmt.Sprint(want):
			x.report.add(Problem, about, fmt.Sprintf("partitions: %s, and %d were asked for", c.partitions, want), "Nodes with this setting do not start.", "Use --partitions "+c.partitions+".")
			return
		}
		newest, floor = later(newest, c.last, p), later(floor, c.floor, p)
	}
	switch {
	case len(missing) == want:
		x.report.add(Note, about, fmt.Sprintf("none under the prefix %q", prefix), "The first node creates it, with "+count(want, "partition")+".", "")
	case missing != nil:
		x.report.add(Warning, about, "partitions without a clock: "+strings.Join(missing, ", "),
			"Redis has lost these partitions, or no node has used them yet. Nodes create them again, and send clients a gap notice for events that they know to be lost.",
			"If the log is not new, find out why Redis lost them: persistence, a failover, or FLUSHALL.")
	default:
		x.report.add(OK, about, fmt.Sprintf("%s under the prefix %q, newest position %s, complete since %s", count(want, "partition"), prefix, stamp(newest), stamp(floor)), "", "")
	}
}

func (x *examination) readClock(ctx context.Context, p *keys.Partition) (clockState, error) {
	values, err := ask(ctx, x.opt.Timeout, func(ctx context.Context) ([]any, error) {
		return x.client.HMGet(ctx, p.Clock(), "last", "floor", "partitions", "version").Result()
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

// later returns the later of t and the time of a position.
func later(t time.Time, position string, p *keys.Partition) time.Time {
	id, err := entry.ParsePosition(position, p.ID)
	if err == nil && id.Time().After(t) {
		return id.Time()
	}
	return t
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
