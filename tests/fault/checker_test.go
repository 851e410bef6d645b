package fault_test

import (
	"testing"
	"time"

	"github.com/tidemark/tidemark/streams"
)

// A told is one step of a case of TestChecker: an event, a gap notice, or a reconnect with
// the cursor of a room that lags.
type told struct {
	event int // its number; 0 for a notice
	notice
	back streams.ID // the cursor of a reconnect; the zero ID for none
}

func at(n int) streams.ID { return streams.MakeID(uint64(1000*n), 1, 0) }

// gapBetween returns a notice for the events between two others.
func gapBetween(reason string, after, before int) told {
	return told{notice: notice{after: at(after), before: at(before), reason: reason}}
}

func events(numbers ...int) (all []told) {
	for _, n := range numbers {
		all = append(all, told{event: n})
	}
	return all
}

// A checker that detects nothing would pass every run. The room of each case has five
// events. It keeps three of them where a notice has the reason trimmed.
func TestChecker(t *testing.T) {
	join := func(parts ...[]told) (all []told) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	one := func(t told) []told { return []told{t} }
	cases := []struct {
		name   string
		told   []told
		losses int
		want   string
	}{
		{"all", events(1, 2, 3, 4, 5), 0, ""},
		{"one is missing", events(1, 2, 4, 5), 0, "missing"},
		{"the last is missing", events(1, 2, 3, 4), 0, "missing"},
		{"twice", events(1, 2, 2, 3, 4, 5), 0, "repeated"},
		{"an old one again", events(1, 2, 3, 1, 4, 5), 0, "repeated"},
		{"out of order", events(1, 3, 2, 4, 5), 0, "missing outOfOrder"},
		{"one that never was", events(1, 2, 3, 4, 9), 0, "missing unexpected"},
		{"one that the log has lost", events(1, 2, 3, 4, 5, 9), 1, ""},
		{"trimmed and told", join(one(gapBetween("trimmed", 0, 3)), events(3, 4, 5)), 0, "owed"},
		{"told though not trimmed", join(events(1, 2), one(gapBetween("trimmed", 2, 4)), events(4, 5)), 0, "unowed"},
		{"told though nothing is missing", join(events(1), one(gapBetween("trimmed", 1, 2)), events(2, 3, 4, 5)), 0, "unowed"},
		{"told in the wrong place", join(events(3), one(gapBetween("trimmed", 0, 3)), events(4, 5)), 0, "missing unowed"},
		{"trimmed and told, and had on another connection", join(events(1, 2), one(told{back: at(0)}), one(gapBetween("trimmed", 0, 3)), events(3, 4, 5)), 0, "owed"},
		{"told though the cursor says that it was had", join(events(1, 2), one(told{back: at(2)}), one(gapBetween("trimmed", 0, 3)), events(3, 4, 5)), 0, "unowed"},
		{"lost and told", join(events(1, 2), one(gapBetween("reset", 2, 5)), events(5)), 1, "owed"},
		{"lost and told late", join(events(1, 2, 5), one(gapBetween("reset", 2, 6))), 1, "owed"},
		{"lost, and told of less", join(events(1, 2, 5), one(gapBetween("reset", 5, 6))), 1, "missing owed"},
		{"told of a loss that was none", join(events(1, 2, 3), one(gapBetween("reset", 3, 4)), events(4, 5)), 0, "unowed"},
		{"told again, for the same cursor of the future", join(events(1, 2, 3, 4, 5), one(told{back: at(9)}), one(gapBetween("reset", 9, 6)), one(told{back: at(9)}), one(gapBetween("reset", 9, 6))), 1, "owed"},
		{"told of one loss twice", join(events(1, 2, 3), one(gapBetween("reset", 3, 4)), one(gapBetween("reset", 3, 4)), events(4, 5)), 1, "owed unowed"},
		{"trimmed and told, and found in memory", join(one(gapBetween("trimmed", 0, 3)), events(1, 2, 3, 4, 5)), 0, "owed"},
		{"told of an event behind what came", join(events(1, 2, 4), one(gapBetween("unknown", 2, 4)), events(5)), 1, "owed"},
		{"told so though there was no loss", join(events(1, 2, 4), one(gapBetween("unknown", 2, 4)), events(5)), 0, "unowed"},
		{"told of a frame that was not lost", join(events(1, 2, 3), one(gapBetween("unknown", 3, 4)), events(4, 5)), 0, "unowed"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			if got := verdict(t, tc.told, tc.losses); got != tc.want {
				t.Errorf("found %q, want %q", got, tc.want)
			}
		})
	}
}

// verdict passes the steps to a client, checks it, and returns the names of the counters
// that rose.
func verdict(t *testing.T, all []told, losses int) string {
	w := &system{t: t, began: time.Now(), flagged: make(map[*client]string)}
	r := &room{name: "room", keeps: 3}
	end := at(5)
	r.target.Store(&end)
	var truth []known
	for n := range 5 {
		truth = append(truth, known{entry: entry{at(n + 1), makeMark(1, n+1)}})
	}
	c := &client{w: w, conns: make([]conn, 1)}
	track := &track{room: r}
	track.opened(at(0))
	for _, x := range all {
		switch {
		case !x.back.IsZero():
			track.cursor, track.floor, track.handed = x.back, x.back, x.back
			c.conns = append(c.conns, conn{})
		case x.event > 0:
			c.eventLocked(track, entry{at(x.event), makeMark(1, x.event)}, 0)
		default:
			c.gapLocked(track, x.notice)
		}
	}
	j := checker{w: w, c: c, t: track, known: truth, losses: losses}
	j.check()
	found := ""
	for _, count := range []struct {
		name string
		n    *counter
	}{
		{"missing", &w.counts.missing}, {"repeated", &w.counts.repeated}, {"outOfOrder", &w.counts.outOfOrder},
		{"unexpected", &w.counts.unexpected}, {"owed", &w.counts.owed}, {"unowed", &w.counts.unowed},
	} {
		if count.n.Load() > 0 {
			if found != "" {
				found += " "
			}
			found += count.name
		}
	}
	return found
}

// stored parses a line of MONITOR about an event, and no other line.
func TestStored(t *testing.T) {
	line := `+1795340000.123456 [0 lua] "XADD" "{tidemark:5}:s:room-2" "MAXLEN" "=" "1000" "1795340000123-42" "prev" "0-0" "data" "\"x\""` + "\r\n"
	stream, position, ok := stored(line)
	if !ok || stream != "{tidemark:5}:s:room-2" || position != "1795340000123-42" {
		t.Errorf("read %q, %q, %v", stream, position, ok)
	}
	if _, _, ok := stored(`+1795340000.123456 [0 127.0.0.1:1] "PING"` + "\r\n"); ok {
		t.Error("took a PING for an event")
	}
}
