package redislog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/logtest"
)

const (
	// publishPause is the time between two events of a publisher. With it, two cores are
	// enough for all publishers and Redis.
	publishPause = 2 * time.Millisecond

	// checkEvery is the time between two tail checks of a reader.
	checkEvery = 300 * time.Millisecond
)

// traffic has one publisher and one reader for each of several rooms, all on one log. A
// publisher repeats each event with its key until it is acknowledged. A reader follows the
// feed as streams.Feed describes.
type traffic struct {
	t       *testing.T
	log     *Log
	readers []*reader
	pubs    []*publisher

	stop       chan struct{} // tells publishers to finish their event
	publishing sync.WaitGroup
	reading    sync.WaitGroup
	cancel     context.CancelFunc // ends the readers
}

// startTraffic starts a publisher and a reader of one room in each of the partitions.
func startTraffic(t *testing.T, l *Log, partitions ...streams.Partition) *traffic {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	tr := &traffic{t: t, log: l, stop: make(chan struct{}), cancel: cancel}
	for _, p := range partitions {
		room := roomOf(l, "traffic", p)
		r := &reader{log: l, p: p, room: room, feed: l.Feed(p)}
		tr.readers = append(tr.readers, r)
		tr.reading.Go(func() { r.run(ctx) })
		pub := &publisher{log: l, room: room}
		tr.pubs = append(tr.pubs, pub)
		tr.publishing.Go(func() { pub.run(tr.stop) })
	}
	t.Cleanup(tr.end)
	return tr
}

// roomOf returns a room of partition p whose name starts with name.
func roomOf(l *Log, name string, p streams.Partition) streams.Room {
	for i := 0; ; i++ {
		if room := streams.Room(fmt.Sprintf("%s-%d", name, i)); room.Partition(l.Partitions()) == p {
			return room
		}
	}
}

// goOn waits until n more events of each publisher are acknowledged.
func (tr *traffic) goOn(n int) {
	tr.t.Helper()
	goals := make([]int, len(tr.pubs))
	for i, p := range tr.pubs {
		goals[i] = p.count() + n
	}
	for i, p := range tr.pubs {
		eventually(tr.t, fmt.Sprintf("%d more events in %s", n, p.room), func() bool { return p.count() >= goals[i] })
	}
}

// finish stops the publishers, and waits until the readers have all events of the log.
func (tr *traffic) finish() {
	tr.t.Helper()
	close(tr.stop)
	tr.publishing.Wait()
	for i, r := range tr.readers {
		newest := tr.pubs[i].newest()
		eventually(tr.t, fmt.Sprintf("the reader of %s has %s", r.room, newest), func() bool { return !r.at().Before(newest) })
	}
}

// end waits for all goroutines, also if the test failed before finish.
func (tr *traffic) end() {
	select {
	case <-tr.stop:
	default:
		close(tr.stop)
	}
	tr.publishing.Wait()
	tr.cancel()
	for _, r := range tr.readers {
		r.feed.Close()
	}
	tr.reading.Wait()
}

// nothingLost checks that acknowledged events, logged events and read events are the same,
// once and in order, and that no floor was raised.
func (tr *traffic) nothingLost() {
	tr.t.Helper()
	if n := tr.log.Losses(); n != 0 {
		tr.t.Errorf("%d losses noticed, want none", n)
	}
	for i, r := range tr.readers {
		logged := idsOf(all(tr.t, tr.log, r.room))
		if d := logtest.Compare(tr.pubs[i].ids(), logged); !d.OK() {
			tr.t.Errorf("%s: acknowledged and logged: %s", r.room, d)
		}
		if d := logtest.Compare(logged, r.ids()); !d.OK() {
			tr.t.Errorf("%s: logged and read: %s", r.room, d)
		}
	}
}

// lossesTold checks the same for events after the floor. Redis may have lost acknowledged
// events at or before the floor.
func (tr *traffic) lossesTold() {
	tr.t.Helper()
	for i, r := range tr.readers {
		e, err := tr.log.Watermarks(tr.t.Context(), r.p, nil)
		if err != nil {
			tr.t.Fatal(err)
		}
		logged, acked := idsOf(all(tr.t, tr.log, r.room)), tr.pubs[i].ids()
		if d := logtest.Compare(after(e.Floor, acked), after(e.Floor, logged)); !d.OK() {
			tr.t.Errorf("%s: acknowledged and logged, after the floor: %s", r.room, d)
		}
		if d := logtest.Compare(after(e.Floor, logged), after(e.Floor, r.ids())); !d.OK() {
			tr.t.Errorf("%s: logged and read, after the floor: %s", r.room, d)
		}
		lost := logtest.Compare(acked, logged).Missing
		if lost > 0 && tr.log.Losses() == 0 {
			tr.t.Errorf("%s: %d events lost, and no loss noticed", r.room, lost)
		}
		tr.t.Logf("%s: %d acknowledged, %d of them lost, %d read; the feed was lost %d times, %d tail checks found more",
			r.room, len(acked), lost, len(r.ids()), r.lost(), r.repairs)
	}
}

// after returns the ids after floor.
func after(floor streams.ID, ids []streams.ID) []streams.ID {
	return slices.DeleteFunc(slices.Clone(ids), func(id streams.ID) bool { return !floor.Before(id) })
}

// A publisher publishes numbered events to one room.
type publisher struct {
	log  *Log
	room streams.Room

	mu    sync.Mutex // guards the fields below
	acked []streams.ID
	errs  int   // failed attempts
	err   error // of the last attempt
}

func (p *publisher) run(stop <-chan struct{}) {
	for n := 0; ; n++ {
		if !p.publish(n) {
			return
		}
		select {
		case <-stop:
			return
		case <-time.After(publishPause):
		}
	}
}

// publish repeats event n until it is acknowledged. It reports whether to go on.
func (p *publisher) publish(n int) bool {
	d := keyed(p.room, fmt.Sprintf(`{"n":%d}`, n), fmt.Sprint("key-", n))
	d.Retention.Events = 100_000
	for deadline := time.Now().Add(2 * waitLimit); ; time.Sleep(publishPause) {
		r := p.log.Append(context.Background(), []streams.Draft{d})[0]
		if p.note(r) {
			return true
		}
		if mends := errors.Is(r.Err, streams.ErrUnavailable) || errors.Is(r.Err, streams.ErrRefused); !mends || time.Now().After(deadline) {
			return false // goOn or finish reports it
		}
	}
}

// note reports whether r is an acknowledgement.
func (p *publisher) note(r streams.Receipt) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err = r.Err; p.err != nil {
		p.errs++
		return false
	}
	p.acked = append(p.acked, r.ID)
	return true
}

func (p *publisher) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.acked)
}

func (p *publisher) failed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.errs
}

func (p *publisher) ids() []streams.ID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.acked
}

func (p *publisher) newest() streams.ID {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.acked[len(p.acked)-1]
}

// A reader follows one room. It reads the log at each announcement, continues with the
// feed, and checks the tail regularly.
type reader struct {
	log  *Log
	p    streams.Partition
	room streams.Room
	feed streams.Feed

	joined  bool // owned by run
	repairs int  // tail checks that found events; owned by run

	mu     sync.Mutex // guards the fields below
	got    []streams.ID
	losses int // of the feed
}

func (r *reader) run(ctx context.Context) {
	r.feed.Join(r.room, 1)
	check := time.NewTicker(checkEvery)
	defer check.Stop()
	for {
		select {
		case m, open := <-r.feed.Messages():
			if !open {
				return
			}
			r.take(ctx, m)
		case <-check.C:
			before := r.at()
			if r.joined && r.catchUp(ctx) == nil && before.Before(r.at()) {
				r.repairs++
			}
		case <-ctx.Done():
			return
		}
	}
}

func (r *reader) take(ctx context.Context, m streams.FeedMessage) {
	switch {
	case m.Lost:
		r.joined = false
		r.mu.Lock()
		r.losses++
		r.mu.Unlock()
	case m.Joined != "":
		for ctx.Err() == nil && r.catchUp(ctx) != nil {
			time.Sleep(publishPause)
		}
		r.joined = true
	case m.Event != nil && r.joined && r.at().Before(m.Event.ID):
		if r.at().Before(m.Event.Prev) && r.catchUp(ctx) == nil {
			return
		}
		r.add(m.Event.ID)
	}
}

// catchUp reads the room up to its tail.
func (r *reader) catchUp(ctx context.Context) error {
	e, err := r.log.Watermarks(ctx, r.p, []streams.Room{r.room})
	if err != nil {
		return err
	}
	for {
		page, err := r.log.After(ctx, r.room, r.at(), e.Last, upTo(1000))
		if err != nil {
			return err
		}
		for _, e := range page.Events {
			r.add(e.ID)
		}
		if !page.More {
			return nil
		}
	}
}

func (r *reader) add(id streams.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, id)
}

// at returns the newest event of the reader.
func (r *reader) at() streams.ID {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.got) == 0 {
		return streams.ID{}
	}
	return r.got[len(r.got)-1]
}

func (r *reader) ids() []streams.ID {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.got
}

func (r *reader) lost() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.losses
}

func idsOf(events []*streams.Event) []streams.ID {
	ids := make([]streams.ID, len(events))
	for i, e := range events {
		ids[i] = e.ID
	}
	return ids
}
