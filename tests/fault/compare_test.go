package fault_test

import (
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/tidemark/tidemark/streams"
)

const (
	// settleLimit is how long clients may take to reach the end of their rooms once all
	// faults have ended. Only a missing event makes a run reach it.
	settleLimit = 90 * time.Second
	// maxPast is the number of earlier events that a room remembers, for clients that return
	// with a position from before this round.
	maxPast = 5000
)

// A known is an event that every follower of its room must receive.
type known struct {
	entry
	ackedAt time.Duration // when its publisher was answered; 0 for not in this round
	lost    bool          // it was acknowledged and is not in the log
}

// settle ends a round: publishers have stopped and all faults have ended. It waits until
// every client has reached the end of its rooms, and counts the errors.
func (w *system) settle() {
	w.t.Helper()
	began := time.Now()
	w.settling.Store(true)
	defer w.settling.Store(false)
	all := make(map[*room][]known, len(w.rooms))
	for _, r := range w.rooms {
		all[r] = w.gather(r)
	}
	w.awaitClients()
	w.logf("settled within %v", time.Since(began).Round(time.Millisecond))
	lossy := w.lossy(all)
	for _, c := range w.allClients() {
		c.mu.Lock()
		for _, t := range c.tracks {
			j := checker{w: w, c: c, t: t, known: all[t.room], losses: lossy[t.room.partition]}
			j.check()
		}
		c.wrongs = 0
		c.conns = c.conns[max(0, len(c.conns)-1):]
		c.mu.Unlock()
	}
	for _, r := range w.rooms {
		w.pass(r, all[r], lossy[r.partition] > 0)
	}
	w.stopAway()
}

// awaitClients waits until every client has reached the end of its rooms. Events that are
// still outstanding then count as missing.
func (w *system) awaitClients() {
	deadline := time.Now().Add(settleLimit)
	for _, c := range w.allClients() {
		for {
			why := c.behind()
			if why == "" {
				break
			}
			if time.Now().After(deadline) {
				w.t.Errorf("a client does not reach the end of its rooms: %s", why)
				w.flag(c, "behind")
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// gather returns the known events of a room in the order of ids: those in the log and those
// that were acknowledged. It sets the target of the round.
func (w *system) gather(r *room) []known {
	w.t.Helper()
	logged := w.readLog(r, r.end)
	acked := r.takeAcked()
	trimmed := streams.ID{} // the log has trimmed everything before it
	if len(logged) >= r.keeps {
		trimmed = logged[0].id
	}
	var round []known
	for len(logged) > 0 || len(acked) > 0 {
		switch {
		case len(acked) == 0 || len(logged) > 0 && logged[0].id.Before(acked[0].id):
			w.t.Errorf("%s has %v as %v, which no publisher was told", r.name, logged[0].mark, logged[0].id)
			w.counts.storedTwice.Add(1)
			round = append(round, known{entry: logged[0]})
			logged = logged[1:]
		case len(logged) == 0 || acked[0].id.Before(logged[0].id):
			lost := !acked[0].id.Before(trimmed)
			round = append(round, known{acked[0].entry, acked[0].at, lost})
			acked = acked[1:]
		default:
			if logged[0].mark != acked[0].mark {
				w.t.Errorf("%s has %v as %v, but that id was the answer for %v", r.name, logged[0].mark, logged[0].id, acked[0].mark)
			}
			round = append(round, known{logged[0], acked[0].at, false})
			logged, acked = logged[1:], acked[1:]
		}
	}
	target := r.end
	if len(round) > 0 {
		target = round[len(round)-1].id
	}
	r.target.Store(&target)
	return append(slices.Clone(r.past), round...)
}

// lossy returns for each partition how often its log lost events in this round: all injected
// losses, if an event is known to be gone.
func (w *system) lossy(all map[*room][]known) map[streams.Partition]int {
	gone := make(map[streams.Partition]bool)
	for r, events := range all {
		for _, k := range events {
			if k.lost {
				gone[r.partition] = true
				w.counts.lost.Add(1)
			}
		}
		for id := range w.log.takeSeen(r) {
			gone[r.partition] = gone[r.partition] || !isKnown(events, id)
		}
	}
	for _, c := range w.allClients() {
		c.mu.Lock()
		for _, t := range c.tracks {
			gone[t.room.partition] = gone[t.room.partition] || t.hasUnknown(all[t.room])
		}
		c.mu.Unlock()
	}
	lossy := make(map[streams.Partition]int)
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.losses {
		for p := range w.log.partitions() {
			p := streams.Partition(p)
			if l.hits(p) && (l.certain || gone[p]) {
				lossy[p]++
			}
		}
	}
	for p := range gone {
		if lostHere := w.lostIn(p, all); lostHere > 0 && w.log.keepsAcknowledged() && !w.certainLossLocked(p) {
			w.t.Errorf("partition %d has lost %d acknowledged events", p, lostHere)
		}
		if gone[p] && lossy[p] == 0 {
			w.t.Errorf("partition %d has lost events, and nothing was done to it that may lose any", p)
		}
	}
	w.losses = nil
	return lossy
}

func (w *system) lostIn(p streams.Partition, all map[*room][]known) (n int) {
	for r, events := range all {
		for _, k := range events {
			if k.lost && r.partition == p {
				n++
			}
		}
	}
	return n
}

// certainLossLocked reports whether an injected fault has certainly cost p events.
func (w *system) certainLossLocked(p streams.Partition) bool {
	return slices.ContainsFunc(w.losses, func(l loss) bool { return l.certain && l.hits(p) })
}

// hasUnknown reports whether the client received an event that neither the log nor a
// publisher knows.
func (t *track) hasUnknown(events []known) bool {
	for _, d := range t.got {
		if !isKnown(events, d.id) {
			return true
		}
	}
	return false
}

func isKnown(events []known, id streams.ID) bool {
	_, found := slices.BinarySearchFunc(events, id, func(k known, id streams.ID) int { return k.id.Compare(id) })
	return found
}

// pass prepares a room for the next round.
func (w *system) pass(r *room, events []known, lossy bool) {
	r.end = *r.target.Load()
	if lossy { // events of earlier rounds may be gone too
		events = nil
		for _, e := range w.readLog(r, streams.ID{}) {
			events = append(events, known{entry: e})
		}
	}
	r.past = slices.Clone(events[max(0, len(events)-maxPast):])
}

// stopAway ends the clients that had gone away and returned to be checked.
func (w *system) stopAway() {
	away := func(c *client) bool { return !c.until.IsZero() }
	for _, c := range w.allClients() {
		if away(c) {
			c.leave()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clients = slices.DeleteFunc(w.clients, away)
}

// A checker compares the messages that a client received about one room in this round with
// the known events. Its methods are called with the client's mu held.
type checker struct {
	w      *system
	c      *client
	t      *track
	known  []known
	losses int // of the room's partition in this round

	used []bool // by notice: it excuses an event that did not come
}

func (j *checker) check() {
	t := j.t
	j.used = make([]bool, len(t.notices))
	if t.based {
		j.compare()
		j.notices()
		t.base, t.settled = streams.Later(t.base, j.limit()), true
	}
	t.got, t.notices = t.got[:0], t.notices[:0]
}

// limit is the position that the client must have reached.
func (j *checker) limit() streams.ID { return *j.t.room.target.Load() }

// compare merges the known and the received events, both in the order of ids.
func (j *checker) compare() {
	got, limit := j.t.got, j.limit()
	from := sort.Search(len(j.known), func(i int) bool { return j.t.base.Before(j.known[i].id) })
	next := 0
	for _, k := range j.known[from:] {
		if limit.Before(k.id) {
			break
		}
		for ; next < len(got) && got[next].id.Before(k.id); next++ {
			j.unknown(got[next])
		}
		if next < len(got) && got[next].id == k.id {
			j.received(got[next], k)
			next++
		} else {
			j.missed(k, next)
		}
	}
	for _, d := range got[next:] {
		j.unknown(d)
	}
}

// received measures the delay of an event on a connection that was live when its publisher
// was answered.
func (j *checker) received(d delivery, k known) {
	if d.mark != k.mark {
		j.wrong(&j.w.counts.unexpected, "unexpected: %v under the id %v of %v", d.mark, d.id, k.mark)
	}
	live := j.c.conns[d.conn].live
	if j.c.pause == 0 && live > 0 && live < k.ackedAt {
		longest(&j.w.counts.lag, d.at-k.ackedAt)
	}
}

// unknown handles an event that is neither in the log nor acknowledged: the log lost it
// before its publisher was answered, or it was made up.
func (j *checker) unknown(d delivery) {
	if j.losses == 0 {
		j.wrong(&j.w.counts.unexpected, "unexpected: %v (%v) came, and is not in the log", d.id, d.mark)
	}
}

// missed handles an event that did not come. Its place was before got[next].
func (j *checker) missed(k known, next int) {
	excused := false
	for n := range j.t.notices {
		if j.t.excuses(n, k.id, next) {
			excused, j.used[n] = true, true
		}
	}
	if !excused {
		j.wrong(&j.w.counts.missing, "missing: %v (%v), acknowledged at %s, lost %v; came before: %s, after: %s; base %v, limit %v",
			k.id, k.mark, j.w.timeOf(k.ackedAt), k.lost, j.around(next-1), j.around(next), j.t.base, j.limit())
	}
}

// excuses reports whether the n-th notice excuses an event that did not come before
// got[next]: the notice names the event and stands in its place. It may also stand later: a
// node may find out later that the log went back, or that it has already delivered a newer
// event.
func (t *track) excuses(n int, id streams.ID, next int) bool {
	g := t.notices[n]
	inPlace := g.place == next || g.place > next && g.reason != "trimmed"
	return inPlace && g.after.Before(id) && id.Before(g.before)
}

// trimmed reports whether the n-th notice is right. It names an event that the log had
// trimmed when the notice came and that was not delivered on its connection. A client that
// returned with the cursor of a lagging room may have received the event on an earlier
// connection. The event may still come, from the memory of another node.
func (j *checker) trimmed(n int) bool {
	g := j.t.notices[n]
	from := streams.Later(g.after, g.floor)
	first := sort.Search(len(j.known), func(i int) bool { return from.Before(j.known[i].id) })
	if first == len(j.known) || !j.known[first].id.Before(g.before) {
		return false
	}
	now := uint64(j.w.began.Add(g.at).UnixMilli() + j.w.clockSlack.Milliseconds())
	later := j.known[first+1:]
	return sort.Search(len(later), func(i int) bool { return later[i].id.Millis() > now }) >= j.t.room.keeps
}

// notices counts the notices that were owed and those that were not.
func (j *checker) notices() {
	resets := 0
	for n, g := range j.t.notices {
		owed := false
		switch g.reason {
		case "trimmed":
			owed = j.trimmed(n) || j.losses > 1 // of two losses, the first may be reported as trimmed
		case "reset":
			if !j.again(n) {
				resets++
			}
			owed = resets <= j.losses
		case "unknown":
			// A log with two primaries for a while has events before the newest delivered
			// one.
			owed = j.w.dropsFrames || j.losses > 0 && j.used[n]
		}
		if owed {
			j.w.counts.owed.Add(1)
		} else {
			j.wrong(&j.w.counts.unowed, "unowed: a notice, %s, after %v before %v", g.reason, g.after, g.before)
		}
	}
}

// again reports whether the n-th notice repeats an earlier one because the client returned
// with a cursor from before it. Over WebSocket a notice moves no cursor, and with several
// rooms the cursor is the earliest. A notice with the same cursor repeats a loss, because
// these clients never move their cursors back.
func (j *checker) again(n int) bool {
	g := j.t.notices[n]
	return slices.ContainsFunc(j.t.notices[:n], func(old notice) bool {
		return old.reason == g.reason && old.conn != g.conn && (g.cursor.Before(old.before) || g.cursor == old.cursor)
	})
}

// around describes the delivery at a place.
func (j *checker) around(place int) string {
	if place < 0 || place >= len(j.t.got) {
		return "nothing"
	}
	d := j.t.got[place]
	return fmt.Sprintf("%v (%v) at %s on conn %d", d.id, d.mark, j.w.timeOf(d.at), d.conn)
}

func (j *checker) wrong(count *counter, format string, args ...any) {
	count.Add(1)
	if j.c.wrongs++; j.c.wrongs > maxWrongs {
		return // the journal needs room for other entries
	}
	j.c.noteLocked(string(j.t.room.name)+": "+format, args...)
	what, _, _ := strings.Cut(format, ":")
	j.w.flag(j.c, what)
}
