package replay_test

import (
	"context"
	"testing"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/streams"
)

// onlyEvents is a Source of one room. It implements After only.
type onlyEvents struct {
	replay.Source
	events []*streams.Event
}

func (s onlyEvents) After(_ context.Context, _ streams.Room, after, through streams.ID, limit streams.ReadLimit) (got streams.Page, _ error) {
	for _, e := range s.events {
		if after.Before(e.ID) && !through.Before(e.ID) && len(got.Events) < limit.Events {
			got.Events = append(got.Events, e)
		}
	}
	return got, nil
}

// The gap notice of a loss begins where the loss began. This holds even for a client that
// received an event logged over the lost ones.
func TestResetReachesBack(t *testing.T) {
	at := func(seq uint64) streams.ID { return streams.MakeID(1, seq, 0) }
	log := onlyEvents{events: []*streams.Event{{ID: at(5), Prev: at(2), Room: "r"}, {ID: at(8), Prev: at(7), Room: "r"}}}
	w := streams.Watermarks{Last: at(8), Floor: at(7), LostAfter: at(3), Tails: []streams.ID{at(8)}}
	for name, c := range map[string]struct{ cursor, after streams.ID }{
		"before the loss":                     {at(2), at(3)}, // after the event that was logged over the loss
		"within, after the overwriting event": {at(5), at(3)},
		"within":                              {at(4), at(3)},
		"at the beginning":                    {at(3), at(3)},
	} {
		reader := replay.NewReader(log, w, []replay.RoomStart{{Room: "r", Pos: c.cursor}})
		items, err := reader.Next(t.Context(), 10, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		var gaps []*replay.Gap
		for _, it := range items {
			if it.Gap != nil {
				gaps = append(gaps, it.Gap)
			}
		}
		if len(gaps) != 1 || gaps[0].Reason != replay.Reset || gaps[0].After != c.after || gaps[0].Before != at(8) {
			t.Errorf("%s: %d gap notices: %+v; want one after %s before %s", name, len(gaps), gaps, c.after, at(8))
		}
	}
}
