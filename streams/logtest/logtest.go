// Package logtest holds every streams.Log to the same promises: one suite, run
// on each implementation by that package's own tests.
//
//	func TestLog(t *testing.T) {
//		logtest.Run(t, func(t *testing.T) *logtest.Harness { … })
//	}
//
// Where order matters the suite counts what is missing, what is repeated and
// what is out of order each for itself (see [Compare]), for a count of distinct
// ids is blind to two of the three.
package logtest

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/tidemark/tidemark/streams"
)

const (
	// patience is how long a promise may take to come true before the test
	// fails. It is far above what a loaded machine needs, and costs nothing where
	// the promise is kept.
	patience = 30 * time.Second

	// pollEvery is how often a condition is looked at while it is waited for.
	pollEvery = time.Millisecond
)

// A Harness is one log under test and what can be done to it. The store behind
// it must be new: the suite uses the same room names in every test.
type Harness struct {
	// Log is the log under test. The suite may close it, so that the harness's own
	// cleanup must bear with a log that is closed already.
	Log streams.Log

	// Second, if set, is the log of another node on the same store.
	Second streams.Log

	// Reopen, if set, closes Log and returns a new one on the same store, as a
	// restart of the node would. The harness closes that one as well.
	Reopen func() streams.Log
}

// Run checks every promise on a harness of its own, made by open, which leaves
// the closing to t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) *Harness) {
	promises := []struct {
		name  string
		check func(*suite)
	}{
		{"IDsRiseOverRoomsAndAppenders", testIDsRise},
		{"PrevChainsARoom", testPrevChains},
		{"BatchIsStoredInOrder", testBatchOrder},
		{"BatchSpansRoomsAndPartitions", testBatchSpans},
		{"BatchFailuresStayAlone", testBatchFailures},
		{"EmptyBatchIsNothing", testBatchEmpty},

		{"AfterBounds", testAfterBounds},
		{"BeforeBounds", testBeforeBounds},
		{"ContentSurvives", testContent},

		{"KeyRepeatIsStoredOnce", testKeyRepeat},
		{"KeyReuseStoresNothing", testKeyReuse},
		{"KeyIsOfItsRoom", testKeyScope},
		{"KeyRepeatedAtOnceIsStoredOnce", testKeyConcurrent},
		{"KeyTwiceInOneBatch", testKeyTwiceInBatch},
		{"KeyOfEphemeralEvent", testKeyEphemeral},

		{"DurabilityIsWhatWasAskedFor", testDurability},
		{"EphemeralHasNoDurability", testDurabilityEphemeral},

		{"KeepsTheNewestByCount", testKeepCount},
		{"SmallerCapTrimsAtOnce", testKeepShrinks},
		{"ForgetsByAge", testKeepAge},
		{"EphemeralIsLiveOnly", testEphemeral},

		{"EdgesOfANewLog", testEdgesNew},
		{"EdgesFollowAppends", testEdgesFollow},
		{"EdgesTailsInOrderAsked", testEdgesTails},
		{"FirstPrevIsOrigin", testFirstPrev},

		{"FeedAnnouncesTicket", testFeedTicket},
		{"FeedDeliversInOrder", testFeedOrder},
		{"FeedOfManyRooms", testFeedManyRooms},
		{"FeedChurnEndsWithLastTicket", testFeedChurn},
		{"FeedJoinRacesAppends", testFeedJoinRace},
		{"FeedForgetsARoomLeft", testFeedLeave},
		{"FeedSlowReaderIsTold", testFeedSlow},
		{"FeedsAreIndependent", testFeedsIndependent},
		{"LiveOnlyAfterLogged", testLiveAfterLogged},
		{"TraceComesLive", testTrace},

		{"RestartKeepsEverything", testRestart},
		{"NodesShareOneLog", testNodes},
		{"CancelledContextIsHonoured", testCancelled},
		{"ClosedLogSaysSo", testClosed},
	}
	for _, p := range promises {
		t.Run(p.name, func(t *testing.T) {
			h := open(t)
			p.check(&suite{T: t, Harness: h, ctx: t.Context()})
		})
	}
}

// keep is a retention that nothing in a test outlives.
func keep() streams.Retention { return streams.Retention{Events: 100_000, Age: time.Hour} }

// end is a position after every event of partition 0.
func end() streams.ID { return streams.MakeID(math.MaxUint64, math.MaxUint64, math.MaxUint16) }

// suite is one test with the calls that all tests make. It works in partition 0
// unless a test says otherwise.
type suite struct {
	*testing.T
	*Harness
	ctx context.Context
}

// room returns a room of partition 0 whose name starts with name.
func (s *suite) room(name string) streams.Room { return s.roomIn(0, name) }

func (s *suite) roomIn(p streams.Partition, name string) streams.Room {
	s.Helper()
	for i := 0; ; i++ {
		r, err := streams.ParseRoom(fmt.Sprintf("%s.%d", name, i))
		if err != nil {
			s.Fatal(err)
		}
		if r.Partition(s.Log.Partitions()) == p {
			return r
		}
	}
}

// rooms returns n different rooms of partition 0.
func (s *suite) rooms(name string, n int) []streams.Room {
	s.Helper()
	all := make([]streams.Room, n)
	for i := range all {
		all[i] = s.room(fmt.Sprintf("%s-%d", name, i))
	}
	return all
}

// draft is a message to room with a number as its data.
func draft(room streams.Room, n int) streams.Draft {
	return streams.Draft{Room: room, Type: streams.DefaultType, Data: fmt.Appendf(nil, `{"n":%d}`, n), Retention: keep()}
}

// drafts returns n messages to room.
func drafts(room streams.Room, n int) []streams.Draft {
	all := make([]streams.Draft, n)
	for i := range all {
		all[i] = draft(room, i)
	}
	return all
}

// bounded gives one call to a log its time limit.
func (s *suite) bounded() (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.ctx, patience)
}

// try appends to log and returns the receipts, one per draft. It may be called
// from any goroutine.
func (s *suite) try(log streams.Log, drafts ...streams.Draft) []streams.Receipt {
	s.Helper()
	ctx, cancel := s.bounded()
	defer cancel()
	receipts := log.Append(ctx, drafts)
	if len(receipts) != len(drafts) {
		s.Errorf("Append of %d drafts gave %d receipts", len(drafts), len(receipts))
		return make([]streams.Receipt, len(drafts))
	}
	return receipts
}

// append appends drafts that must all succeed, and returns their ids. It may be
// called from any goroutine.
func (s *suite) append(drafts ...streams.Draft) []streams.ID {
	s.Helper()
	return s.appendTo(s.Log, drafts...)
}

func (s *suite) appendTo(log streams.Log, drafts ...streams.Draft) []streams.ID {
	s.Helper()
	ids := make([]streams.ID, len(drafts))
	for i, r := range s.try(log, drafts...) {
		if r.Err != nil {
			s.Errorf("append draft %d of %d to room %q: %v", i, len(drafts), drafts[i].Room, r.Err)
		}
		ids[i] = r.ID
	}
	return ids
}

// after reads a page that must be readable. It may be called from any goroutine.
func (s *suite) after(room streams.Room, after, through streams.ID, limit int) []*streams.Event {
	s.Helper()
	ctx, cancel := s.bounded()
	defer cancel()
	events, err := s.Log.After(ctx, room, after, through, limit)
	if err != nil {
		s.Errorf("After(%q, %s, %s, %d): %v", room, after, through, limit, err)
	}
	return events
}

func (s *suite) before(room streams.Room, before streams.ID, limit int) []*streams.Event {
	s.Helper()
	ctx, cancel := s.bounded()
	defer cancel()
	events, err := s.Log.Before(ctx, room, before, limit)
	if err != nil {
		s.Errorf("Before(%q, %s, %d): %v", room, before, limit, err)
	}
	return events
}

// all reads the whole room, in pages, so that a limit of the log's own shows.
func (s *suite) all(room streams.Room) []*streams.Event {
	s.Helper()
	const page = 500
	var events []*streams.Event
	var from streams.ID
	for {
		got := s.after(room, from, end(), page)
		events = append(events, got...)
		if len(got) < page {
			return events
		}
		from = got[len(got)-1].ID
	}
}

func (s *suite) edges(rooms ...streams.Room) streams.Watermarks {
	s.Helper()
	ctx, cancel := s.bounded()
	defer cancel()
	e, err := s.Log.Watermarks(ctx, 0, rooms)
	if err != nil {
		s.Fatalf("Edges: %v", err)
	}
	if len(e.Tails) != len(rooms) {
		s.Fatalf("Edges of %d rooms gave %d tails", len(rooms), len(e.Tails))
	}
	return e
}

// eventually waits until cond holds.
func (s *suite) eventually(what string, cond func() bool) {
	s.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			s.Fatalf("not within %s: %s", patience, what)
		}
		time.Sleep(pollEvery)
	}
}

// sameIDs checks that got is exactly want, in that order.
func (s *suite) sameIDs(what string, want, got []streams.ID) {
	s.Helper()
	if d := Compare(want, got); !d.OK() {
		s.Errorf("%s: %s", what, d)
	}
}

// chained checks that each event's Prev is the event before it.
func (s *suite) chained(what string, events []*streams.Event) {
	s.Helper()
	for i := 1; i < len(events); i++ {
		if events[i].Prev != events[i-1].ID {
			s.Errorf("%s: event %d of %d has Prev %s, want the id before it, %s",
				what, i, len(events), events[i].Prev, events[i-1].ID)
		}
	}
}

// rising checks that ids rise strictly.
func (s *suite) rising(what string, ids []streams.ID) {
	s.Helper()
	for i := 1; i < len(ids); i++ {
		if !ids[i-1].Before(ids[i]) {
			s.Errorf("%s: id %d is %s, not after %s", what, i, ids[i], ids[i-1])
		}
	}
}

// idsOf returns the ids of events.
func idsOf(events []*streams.Event) []streams.ID {
	ids := make([]streams.ID, len(events))
	for i, e := range events {
		ids[i] = e.ID
	}
	return ids
}

// sorted returns ids in the order of the log.
func sorted(ids []streams.ID) []streams.ID {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, streams.ID.Compare)
	return ids
}
