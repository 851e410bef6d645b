package fault_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidemark/tidemark/streams"
)

const (
	// openLimit is how long a connection may take until the server names its position. A
	// stopped node accepts connections and sends nothing.
	openLimit = 15 * time.Second
	// deadAfter is how long a connection may be silent before the client gives it up: three
	// of the node's keep-alive intervals.
	deadAfter = 45 * time.Second
	// Bounds of the delay between two connections, which varies from half of it to all of
	// it. They are shorter than a browser's, to get more reconnects.
	backoffFirst = 20 * time.Millisecond
	backoffMax   = time.Second
	// maxJournal bounds the lines of a client's journal, and maxWrongs the errors that it
	// records in one round.
	maxJournal = 400
	maxWrongs  = 20
)

// A transport is a way to follow rooms.
type transport int

const (
	overSSE transport = iota
	overWebSocket
	overEither // chosen anew for each connection
)

func (over transport) String() string { return [...]string{"sse", "websocket", "either"}[over] }

// A behavior says how a client behaves.
type behavior struct {
	over transport

	// cutEvery is the mean lifetime of a connection; 0 keeps it as long as it stands. Every
	// second time the client cuts in the middle of a message.
	cutEvery time.Duration

	// pause is the delay of a slow client before each small read.
	pause time.Duration

	// start is where the first connection starts, as in "since=now" or "last=10".
	start string

	// at, if set, is the address to connect to, in place of nginx.
	at string

	// until, if set, is when the client goes away. It returns for the end of the round, and
	// leaves for good when it has been checked.
	until time.Time

	// staged clients connect through the link in front of nginx, which has faults.
	staged bool
}

// A client follows rooms on one connection at a time and returns with its cursor whenever
// the connection ends. It checks at once that ids rise and that no event is repeated. The
// checker compares the rest at the end of each round.
//
// It is not a follow.Client: a round has a million deliveries, so it must record each
// cheaply, and it keeps cursors for several rooms to check every notice.
type client struct {
	// Fixed by newClient or newBulkClients.
	behavior
	w       *system
	name    string
	tracks  []*track
	several bool // rooms; over SSE the broadcast room too
	stop    context.CancelFunc
	done    chan struct{} // closed when run returns

	rng *rand.Rand // owned by run

	mu      sync.Mutex // guards the fields below and the tracks
	conns   []conn     // of this round; the last one may stand
	open    bool       // it stands, and the server has named its position
	journal []string
	wrongs  int // recorded in this round
}

// A track is what a client received of one room. Guarded by the client's mu.
type track struct {
	room    *room
	cursor  streams.ID // to return with; the zero ID before the first
	based   bool
	base    streams.ID // every later event must come
	settled bool       // base is the end of an earlier round
	last    streams.ID // the newest event
	excused streams.ID // every earlier event has come or is excused by a notice
	handed  streams.ID // the cursor at the start of this connection
	joined  bool       // on this connection, the server has named the room's position
	floor   streams.ID // on this connection, events must have later ids
	got     []delivery
	notices []notice
	resets  int // notices with the reason reset, in all rounds
}

// A delivery is one received event. It takes 40 bytes, because a round has a million of
// them.
type delivery struct {
	entry
	at   time.Duration // since the system began
	conn int32         // index in the client's conns
}

// A notice is one gap notice.
type notice struct {
	after, before streams.ID
	reason        string
	at            time.Duration
	place         int // number of deliveries before it
	conn          int32
	cursor        streams.ID // at the start of the connection
	floor         streams.ID // the last position delivered on the connection, or its cursor
}

// A conn is one connection of a client.
type conn struct {
	live    time.Duration // when its replay was complete; 0 for not yet
	outages int           // number of reports that the log does not answer
}

// newClient starts a client that follows rooms until leave.
func (w *system) newClient(name string, h behavior, rooms ...*room) *client {
	ctx, stop := context.WithCancel(context.Background())
	c := &client{behavior: h, name: name, several: len(rooms) > 1, stop: stop, done: make(chan struct{})}
	if c.several {
		rooms = append(slices.Clone(rooms), w.broadcast)
	}
	for _, r := range rooms {
		c.tracks = append(c.tracks, &track{room: r})
	}
	w.enlist(c)
	go c.run(ctx)
	return c
}

// enlist adds c to the system's clients.
func (w *system) enlist(c *client) *client {
	c.w, c.rng = w, w.newRand()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clients = append(w.clients, c)
	return c
}

// leave ends the client and waits for it.
func (c *client) leave() {
	c.stop()
	<-c.done
}

// run opens one connection after the other.
func (c *client) run(ctx context.Context) {
	defer close(c.done)
	wait := backoffFirst
	for ctx.Err() == nil {
		if c.isAway() {
			c.w.rest(ctx, 20*time.Millisecond)
			continue
		}
		opened, err := c.connection(ctx)
		if ctx.Err() != nil {
			return
		}
		c.note("ends: %v", err)
		if opened {
			wait = backoffFirst
		}
		select {
		case <-time.After(wait/2 + rand.N(wait/2)):
		case <-ctx.Done():
		}
		wait = min(2*wait, backoffMax)
	}
}

// isAway reports whether the client stays disconnected now.
func (c *client) isAway() bool {
	return !c.until.IsZero() && time.Now().After(c.until) && !c.w.settling.Load()
}

// connection connects, handles messages until the connection ends, and returns the reason.
// opened reports whether the server has named a position.
func (c *client) connection(ctx context.Context) (opened bool, err error) {
	over := c.transport()
	addr := c.w.edge.addrFor(c)
	dialer := net.Dialer{Timeout: openLimit}
	tcp, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return false, err
	}
	clientConn := c.newClientConn(tcp.(*net.TCPConn))
	defer clientConn.Close()
	defer context.AfterFunc(ctx, func() { clientConn.Close() })()
	c.begin(over)
	defer c.end()
	if over == overSSE {
		err = c.followStream(clientConn)
	} else {
		err = c.followSocket(clientConn)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open, err
}

// transport chooses the transport of the next connection. SSE has one cursor for all rooms.
// A client that has cursors for only some of them cannot use it.
func (c *client) transport() transport {
	if c.over != overEither {
		return c.over
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	some, all := false, true
	for _, t := range c.tracks {
		some = some || !t.cursor.IsZero()
		all = all && !t.cursor.IsZero()
	}
	if some && !all {
		return overWebSocket
	}
	return transport(c.rng.IntN(2))
}

// begin records a new connection and its cursors.
func (c *client) begin(over transport) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, conn{})
	c.open = false
	c.w.counts.connects.Add(1)
	if !c.tracks[0].cursor.IsZero() {
		c.w.counts.resumes.Add(1)
	}
	if over == overSSE {
		c.lowerCursorsLocked()
	}
	for _, t := range c.tracks {
		t.handed, t.floor, t.joined = t.cursor, t.cursor, false
	}
	c.noteLocked("connects over %v after %v", over, c.cursorsLocked())
}

// lowerCursorsLocked makes one cursor of the rooms' cursors: the earliest in each partition.
// Events of other rooms after it come again.
func (c *client) lowerCursorsLocked() {
	for _, t := range c.tracks {
		for _, other := range c.tracks {
			if other.room.partition == t.room.partition && other.cursor.Before(t.cursor) {
				t.cursor = other.cursor
			}
		}
		if t.based && !t.settled && t.last.IsZero() && t.cursor.Before(t.base) {
			t.base = t.cursor // the rooms began at different positions
		}
	}
}

func (c *client) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = false
}

// cursorsLocked returns the client's cursor as it is sent to the server.
func (c *client) cursorsLocked() string {
	var ids []streams.ID
	for _, t := range c.tracks {
		if !t.cursor.IsZero() {
			ids = append(ids, t.cursor)
		}
	}
	slices.SortFunc(ids, func(a, b streams.ID) int { return int(a.Partition()) - int(b.Partition()) })
	ids = slices.CompactFunc(ids, func(a, b streams.ID) bool { return a.Partition() == b.Partition() })
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = id.String()
	}
	return strings.Join(texts, ".")
}

// opened records the position at which the connection starts in a partition.
func (t *track) opened(at streams.ID) {
	if !t.based {
		t.based, t.base, t.floor = true, at, at
	}
	t.cursor, t.joined = at, true
}

// moved records that no event at or before a position may come, on this connection and on
// later ones.
func (t *track) moved(to streams.ID) {
	t.floor = streams.Later(t.floor, to)
	t.cursor = streams.Later(t.cursor, to)
}

// eventLocked records one event. The caller holds c.mu.
func (c *client) eventLocked(t *track, e entry, now time.Duration) {
	switch {
	case !t.floor.Before(e.id) && t.has(e.id):
		c.wrongLocked(&c.w.counts.repeated, t, e, "repeated")
		return
	case !t.floor.Before(e.id):
		c.wrongLocked(&c.w.counts.outOfOrder, t, e, "out of order")
		return
	}
	t.floor, t.cursor = e.id, e.id
	if !t.last.Before(e.id) {
		c.w.counts.again.Add(1)
		return // a repeat is right: the cursor was that of another room, which lagged
	}
	c.w.counts.delivered.Add(1)
	t.last = e.id
	t.got = append(t.got, delivery{e, now, int32(len(c.conns) - 1)})
}

func (t *track) has(id streams.ID) bool {
	_, found := slices.BinarySearchFunc(t.got, id, func(d delivery, id streams.ID) int { return d.id.Compare(id) })
	return found
}

// gapLocked records a gap notice. The caller holds c.mu.
func (c *client) gapLocked(t *track, n notice) {
	n.at, n.place, n.conn, n.cursor, n.floor = c.w.now(), len(t.got), int32(len(c.conns)-1), t.handed, t.floor
	t.notices = append(t.notices, n)
	if n.reason == "reset" {
		t.resets++
	}
	t.excused = streams.Later(t.excused, n.before)
	c.noteLocked("gap in %s: %s, after %v before %v", t.room.name, n.reason, n.after, n.before)
}

// liveLocked records that the replay is complete. The caller holds c.mu.
func (c *client) liveLocked() { c.conns[len(c.conns)-1].live = c.w.now() }

// outageLocked records an error that the server reported. The caller holds c.mu.
func (c *client) outageLocked(code string) {
	if code == "log-unavailable" && c.open {
		c.conns[len(c.conns)-1].outages++
	}
}

// outages is the number of outages reported on the present connection.
func (c *client) outages() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.conns) == 0 {
		return 0
	}
	return c.conns[len(c.conns)-1].outages
}

// isOpen reports whether the server has named the position of the present connection.
func (c *client) isOpen() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}

// isLive reports whether the present connection is live.
func (c *client) isLive() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open && c.conns[len(c.conns)-1].live > 0
}

// wrongLocked counts an event that must not come, and records its context.
func (c *client) wrongLocked(count *counter, t *track, e entry, what string) {
	count.Add(1)
	if c.wrongs++; c.wrongs > maxWrongs {
		return // the journal needs room for other entries
	}
	c.noteLocked("%s: %v (%v) in %s, on this connection after %v, newest %v", what, e.id, e.mark, t.room.name, t.floor, t.last)
	c.w.flag(c, what)
}

// behind returns "" if the client has received everything in its rooms up to the targets of
// the round. Otherwise it names the missing target.
func (c *client) behind() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range c.tracks {
		target := *t.room.target.Load()
		if t.based && !t.base.Before(target) {
			continue // nothing further is due
		}
		if t.last.Before(target) && !target.Before(t.excused) {
			return fmt.Sprintf("%s is at %v in %s, which goes to %v", c.name, t.last, t.room.name, target)
		}
	}
	return ""
}

func (c *client) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noteLocked(format, args...)
}

func (c *client) noteLocked(format string, args ...any) {
	if len(c.journal) == maxJournal {
		c.journal = append(c.journal[:0], c.journal[maxJournal/2:]...)
	}
	c.journal = append(c.journal, fmt.Sprintf("%s conn %d "+format, append([]any{c.w.clock(), len(c.conns) - 1}, args...)...))
}

// A clientConn is the client's side of one connection. It reads and cuts as the client's
// behavior says, and measures silence. The reading goroutine owns it; Close may be called
// from any goroutine.
type clientConn struct {
	*net.TCPConn
	c      *client
	cutAt  time.Time // zero for never
	budget int       // bytes until the cut, once cutAt has passed; -1 for no bound
	heard  time.Time
	opened bool // the server has named the position of the connection
	slow   bool
}

var errCut = errors.New("cut by the client")

func (c *client) newClientConn(tcp *net.TCPConn) *clientConn {
	w := &clientConn{TCPConn: tcp, c: c, budget: -1, heard: time.Now()}
	if c.cutEvery > 0 {
		w.cutAt = w.heard.Add(time.Duration(c.rng.ExpFloat64() * float64(c.cutEvery)))
		if c.rng.IntN(2) == 0 {
			w.budget = c.rng.IntN(1500)
		}
	}
	if !c.until.IsZero() && (w.cutAt.IsZero() || c.until.Before(w.cutAt)) {
		w.cutAt = c.until
	}
	w.slow = c.pause > 0
	if c.rng.IntN(2) == 0 {
		_ = tcp.SetLinger(0) // makes Close send RST
	}
	return w
}

// Read implements io.Reader.
func (w *clientConn) Read(p []byte) (int, error) {
	if err := w.prepare(); err != nil {
		return 0, err
	}
	if w.slow {
		p = w.readSlowly(p)
	}
	cutting := w.budget >= 0 && w.due()
	if cutting {
		p = p[:min(len(p), max(w.budget, 1))]
	}
	n, err := w.TCPConn.Read(p)
	if cutting {
		w.budget = max(w.budget-n, 0)
	}
	now := time.Now()
	if w.c.pause == 0 && w.opened {
		w.c.w.noteSilence(now.Sub(w.heard))
	}
	w.heard = now
	if errors.Is(err, os.ErrDeadlineExceeded) && w.due() {
		return n, errCut
	}
	return n, err
}

// readSlowly waits before the next read and returns the part of p that it may fill. At the
// end of a round slow clients read at full speed on the same connection.
func (w *clientConn) readSlowly(p []byte) []byte {
	if w.c.w.settling.Load() {
		w.slow = false
		return p
	}
	time.Sleep(w.c.pause)
	return p[:min(len(p), 2<<10)]
}

// prepare sets the deadline of the next read, or returns errCut if the connection is to be
// cut now.
func (w *clientConn) prepare() error {
	limit := time.Now().Add(deadAfter)
	if !w.opened {
		limit = time.Now().Add(openLimit)
	}
	if !w.cutAt.IsZero() && !w.c.w.settling.Load() {
		if w.due() && w.budget <= 0 {
			return errCut
		}
		if !w.due() && w.budget < 0 && w.cutAt.Before(limit) {
			limit = w.cutAt
		}
	}
	return w.SetReadDeadline(limit)
}

func (w *clientConn) due() bool {
	return !w.cutAt.IsZero() && !w.c.w.settling.Load() && !time.Now().Before(w.cutAt)
}
