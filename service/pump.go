package service

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/sync/singleflight"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/tracing"
)

const (
	// checkChunk bounds the rooms of one look-up of last ids, so that it keeps
	// the log from its other work for well under a millisecond.
	checkChunk = 500
	// repairBatch bounds the events that a repair holds at once.
	repairBatch = 256
	// A repair that the log does not answer is tried again after retryFirst,
	// doubling to retryMost, for as long as the node runs.
	retryFirst = 50 * time.Millisecond
	retryMost  = 2 * time.Second
)

// A pump carries one partition from its feed to the rooms of this node, with
// nothing missing: what the feed has lost is read from the log before anything
// later of the partition goes on.
type pump struct {
	// Fixed by newPump.
	partition streams.Partition
	log       streams.Log
	feed      streams.Feed
	opts      *Options
	metrics   *metrics
	logger    *slog.Logger
	tracer    trace.Tracer // nil for none
	asking    singleflight.Group
	checks    chan check    // of the checker; bounded, and dropped when the pump is busy
	look      chan struct{} // holds a token when the checker is to look at once
	outages   *outages      // of the node
	away      atomic.Bool   // the log has not answered the last question
	stop      context.CancelFunc
	done      sync.WaitGroup

	registry sync.Mutex // guards the fields below, and what room says
	rooms    map[streams.Room]*room
	tickets  uint64
	awaiting int       // rooms that the feed has not announced
	heard    time.Time // when it announced one, or began to owe it

	// mu is held while the hot tail of any room grows. Holding it, a connection of
	// several rooms sees all of them at one moment.
	mu  sync.Mutex
	pos streams.ID // the newest event handed over

	// Owned by run.
	recovering bool
	awaited    map[*room]bool // joined before the feed was lost, and not yet again
	last       *check         // the one before, whose events have had time to arrive
}

// A check is what the log said of the followed rooms at one moment.
type check struct {
	rooms []*room
	edges streams.Watermarks
}

func newPump(log streams.Log, p streams.Partition, opts *Options, m *metrics, o *outages) *pump {
	ctx, stop := context.WithCancel(context.Background())
	pump := &pump{
		partition: p,
		log:       log,
		feed:      log.Feed(p),
		opts:      opts,
		metrics:   m,
		logger:    opts.Logger.With("partition", p),
		tracer:    tracing.Tracer(opts.Tracing),
		checks:    make(chan check, 1),
		look:      make(chan struct{}, 1),
		outages:   o,
		stop:      stop,
		rooms:     make(map[streams.Room]*room),
		awaited:   make(map[*room]bool),
	}
	pump.done.Go(func() { pump.run(ctx) })
	pump.done.Go(func() { pump.check(ctx) })
	return pump
}

// close ends the pump and its feed, and waits for both.
func (p *pump) close() {
	p.stop()
	p.feed.Close()
	p.done.Wait()
}

// acquire returns the room, followed from now on, with one more reference.
func (p *pump) acquire(name streams.Room) *room {
	p.registry.Lock()
	defer p.registry.Unlock()
	r := p.rooms[name]
	if r == nil {
		p.tickets++
		r = newRoom(name, p.tickets)
		p.rooms[name] = r
		p.awaitLocked(r)
		p.feed.Join(name, r.ticket)
		p.metrics.rooms.Inc()
	}
	r.refs++
	return r
}

// awaitLocked notes that the feed owes the announcement of r.
func (p *pump) awaitLocked(r *room) {
	if r.awaited {
		return
	}
	if p.awaiting == 0 {
		p.heard = time.Now()
	}
	r.awaited = true
	p.awaiting++
}

// hadLocked notes that it does not owe it any more.
func (p *pump) hadLocked(r *room) {
	if r.awaited {
		r.awaited = false
		p.awaiting--
		p.heard = time.Now()
	}
}

// stuck returns for how long the feed has announced none of the rooms that it owes.
func (p *pump) stuck() time.Duration {
	p.registry.Lock()
	defer p.registry.Unlock()
	if p.awaiting == 0 {
		return 0
	}
	return time.Since(p.heard)
}

// release gives a reference back.
func (p *pump) release(r *room) {
	p.registry.Lock()
	defer p.registry.Unlock()
	r.refs--
	if r.refs == 0 {
		r.since = time.Now()
	}
}

// sweep leaves the rooms that nobody has followed for the linger time. It is run's.
func (p *pump) sweep() {
	p.registry.Lock()
	defer p.registry.Unlock()
	defer func() {
		if len(p.rooms) == 0 {
			p.last = nil // no other check comes that would take its place, and its rooms be let go of
		}
	}()
	for name, r := range p.rooms {
		if r.refs == 0 && time.Since(r.since) >= p.opts.Linger {
			delete(p.rooms, name)
			delete(p.awaited, r)
			p.hadLocked(r)
			p.feed.Leave(name)
			p.metrics.rooms.Dec()
		}
	}
}

func (p *pump) lookup(name streams.Room) *room {
	p.registry.Lock()
	defer p.registry.Unlock()
	return p.rooms[name]
}

// all returns the rooms that somebody follows, or did a moment ago.
func (p *pump) all() []*room {
	p.registry.Lock()
	defer p.registry.Unlock()
	rooms := make([]*room, 0, len(p.rooms))
	for _, r := range p.rooms {
		rooms = append(rooms, r)
	}
	return rooms
}

// followed returns the rooms that the pump answers for: those whose position is known.
func (p *pump) followed() []*room {
	rooms := p.all()
	known := rooms[:0]
	for _, r := range rooms {
		if _, ok := r.position(); ok {
			known = append(known, r)
		}
	}
	return known
}

// run is the pump's one loop; everything is handed over by it.
func (p *pump) run(ctx context.Context) {
	sweep := time.NewTicker(p.opts.CheckEvery)
	defer sweep.Stop()
	signals := p.feed.Messages()
	for {
		select {
		case s, ok := <-signals:
			if !ok {
				return
			}
			p.hear(ctx, s)
		case c := <-p.checks:
			p.compare(ctx, c)
		case <-sweep.C:
			p.sweep()
			p.tryRecover(ctx) // a room that was awaited may have gone
		case <-ctx.Done():
			return
		}
	}
}

func (p *pump) hear(ctx context.Context, s streams.FeedMessage) {
	switch {
	case s.Lost:
		p.lost()
		select {
		case p.look <- struct{}{}: // the log may be away as well
		default:
		}
		p.tryRecover(ctx)
	case s.Event != nil:
		p.event(ctx, s.Event)
	default:
		p.joined(s.Joined, s.Ticket)
		p.tryRecover(ctx)
	}
}

// event hands over a live event, after what is missing before it.
func (p *pump) event(ctx context.Context, e *streams.Event) {
	if p.recovering {
		return // it is in the log, and is read from there in its order
	}
	r := p.lookup(e.Room)
	if r == nil {
		return
	}
	switch r.judge(e) {
	case deliver:
		p.handOver(r, e)
	case repair:
		p.logger.Info("repairing a hole", "room", e.Room, "before", e.ID)
		p.repair(ctx, causeHole, func() error { return p.readHole(ctx, r, e.ID) })
	}
}

// lost silences every room until the feed has joined it again.
func (p *pump) lost() {
	p.metrics.feedLosses.Inc()
	p.logger.Debug("live feed lost") // why is known to the log, which says so
	p.recovering, p.last = true, nil
	clear(p.awaited)
	p.registry.Lock()
	defer p.registry.Unlock()
	for _, r := range p.rooms {
		p.awaitLocked(r)
		r.mu.Lock()
		r.joined = false
		select {
		case <-r.ready:
			r.ready = make(chan struct{})
		default: // those who wait for it go on waiting
		}
		if r.known {
			p.awaited[r] = true
		}
		r.mu.Unlock()
	}
}

// joined notes that the feed carries a room from here on.
func (p *pump) joined(name streams.Room, ticket uint64) {
	p.registry.Lock()
	r := p.rooms[name]
	if r == nil || r.ticket != ticket {
		p.registry.Unlock()
		return // left meanwhile
	}
	p.hadLocked(r)
	p.registry.Unlock()
	delete(p.awaited, r)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.joined {
		return
	}
	r.joined = true
	if !p.recovering {
		close(r.ready)
	}
}

// tryRecover ends a recovery once every awaited room is joined: what was logged
// meanwhile, over all rooms, is read and handed over in one order.
func (p *pump) tryRecover(ctx context.Context) {
	if !p.recovering || len(p.awaited) > 0 {
		return
	}
	if !p.repair(ctx, causeFeed, func() error { return p.readAll(ctx) }) {
		return // the node is closing
	}
	p.recovering = false
	p.registry.Lock()
	defer p.registry.Unlock()
	for _, r := range p.rooms {
		r.mu.Lock()
		if r.joined {
			close(r.ready)
		}
		r.mu.Unlock()
	}
}

// repair reads from the log what the feed has not brought, and tries until the
// log answers. It reports false only when ctx has ended.
func (p *pump) repair(ctx context.Context, cause string, read func() error) bool {
	p.metrics.repairs.WithLabelValues(cause).Inc()
	wait := retryFirst
	for {
		err := read()
		if err == nil {
			p.answered()
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		p.unanswered(err)
		p.logger.Debug("live delivery waits for the log", "error", err)
		select {
		case <-time.After(wait/2 + rand.N(wait/2)): // not all nodes at once
		case <-ctx.Done():
			return false
		}
		wait = min(2*wait, retryMost)
	}
}

// readAll hands over what the log has of all followed rooms, up to now. It is
// all of them, because what one room is behind may stand before what the feed
// still has of another. After an error each room goes on where it was.
func (p *pump) readAll(ctx context.Context) error {
	rooms := p.followed()
	if len(rooms) == 0 {
		return nil
	}
	edges, err := readEdges(ctx, p.log, p.partition, rooms)
	if err != nil {
		return err
	}
	return p.read(ctx, rooms, edges)
}

// readHole hands over what one room lacks up to a live event, which the feed has
// brought in its order: everything of the others before it is handed over. If the
// log has gone back, all rooms are to be told, before anything later of any.
func (p *pump) readHole(ctx context.Context, r *room, through streams.ID) error {
	rooms := []*room{r}
	edges, err := readEdges(ctx, p.log, p.partition, rooms)
	if err != nil {
		return err
	}
	if pos, _ := r.position(); pos.Before(edges.Floor) {
		rooms = p.followed()
		if edges, err = readEdges(ctx, p.log, p.partition, rooms); err != nil {
			return err
		}
	}
	if !through.Before(edges.Floor) {
		edges.Last = through
	}
	return p.read(ctx, rooms, edges)
}

func (p *pump) read(ctx context.Context, rooms []*room, edges streams.Watermarks) error {
	byName := make(map[streams.Room]*room, len(rooms))
	tracks := make([]replay.RoomStart, len(rooms))
	for i, r := range rooms {
		byName[r.name] = r
		pos, _ := r.position()
		tracks[i] = replay.RoomStart{Room: r.name, Pos: pos}
	}
	reader := replay.NewReader(p.log, edges, tracks)
	for {
		items, err := reader.Next(ctx, repairBatch)
		if err != nil {
			return err
		}
		if len(items) == 0 {
			break
		}
		for _, it := range items {
			if it.Event != nil {
				p.handOver(byName[it.Event.Room], it.Event)
			} else {
				p.handGap(byName[it.Gap.Room], it)
			}
		}
	}
	p.pass(rooms, edges.Last)
	return nil
}

// readEdges reads the edges of any number of rooms: Last before every tail.
func readEdges(ctx context.Context, log streams.Log, p streams.Partition, rooms []*room) (streams.Watermarks, error) {
	names := make([]streams.Room, len(rooms))
	for i, r := range rooms {
		names[i] = r.name
	}
	var all streams.Watermarks
	for from := 0; from < len(names); from += checkChunk {
		edges, err := log.Watermarks(ctx, p, names[from:min(from+checkChunk, len(names))])
		if err != nil {
			return streams.Watermarks{}, err
		}
		if from == 0 {
			all = edges
			continue
		}
		if edges.Floor != all.Floor {
			all.Tails, from = nil, -checkChunk // the log went back meanwhile: all anew
			continue
		}
		all.Tails = append(all.Tails, edges.Tails...)
	}
	return all, nil
}

// edges is readEdges for a subscription. Many that ask for the same room at the
// same time share one look at the log; ready is what each saw, so that nobody
// shares an answer from before the feed was lost.
func (p *pump) edges(ctx context.Context, rooms []*room, ready []chan struct{}) (streams.Watermarks, error) {
	if len(rooms) > 1 {
		return p.lookAt(ctx, rooms)
	}
	key := fmt.Sprintf("%s %p", rooms[0].name, ready[0])
	shared := context.WithoutCancel(ctx) // the log has a time limit of its own
	answer := p.asking.DoChan(key, func() (any, error) {
		defer runtime.KeepAlive(ready) // its address stays the key's alone
		return p.lookAt(shared, rooms)
	})
	select {
	case a := <-answer:
		edges, _ := a.Val.(streams.Watermarks)
		return edges, a.Err
	case <-ctx.Done():
		return streams.Watermarks{}, ctx.Err()
	}
}

// handOver keeps e in its room and hands it round. Only run calls it.
func (p *pump) handOver(r *room, e *streams.Event) {
	p.metrics.received.Inc()
	span := p.deliver(e)
	r.handRound(p.keep(r, e), e)
	if span != nil {
		endDelivery(span, r)
	}
}

func (p *pump) keep(r *room, e *streams.Event) []*member {
	p.mu.Lock()
	defer p.mu.Unlock()
	late := e.ID.Before(p.pos)
	p.pos = streams.Later(p.pos, e.ID)
	return r.keep(e, late, p.opts)
}

func (p *pump) handGap(r *room, it replay.Item) {
	p.logger.Warn("events are missing", "room", r.name, "reason", it.Gap.Reason,
		"after", it.Gap.After, "before", it.Gap.Before)
	p.mu.Lock()
	defer p.mu.Unlock()
	r.handGap(it)
}

// pass notes that rooms have everything up to pos.
func (p *pump) pass(rooms []*room, pos streams.ID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range rooms {
		r.passed(pos)
	}
}

// check asks the log, once in a while, how far each followed room goes.
func (p *pump) check(ctx context.Context) {
	tick := time.NewTicker(p.opts.CheckEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.checkOnce(ctx)
		case <-p.look:
			p.lookOnce(ctx)
		case <-ctx.Done():
			return
		}
	}
}

func (p *pump) checkOnce(ctx context.Context) {
	rooms := p.followed()
	if len(rooms) == 0 {
		if p.away.Load() {
			p.lookOnce(ctx)
		}
		return
	}
	edges, err := p.lookAt(ctx, rooms)
	if err != nil {
		return
	}
	select {
	case p.checks <- check{rooms, edges}:
	default: // the pump is still busy with the one before
	}
}

// lookOnce looks whether the log answers at all.
func (p *pump) lookOnce(ctx context.Context) {
	_, err := p.log.Watermarks(ctx, p.partition, nil)
	p.looked(ctx, err)
}

// lookAt is readEdges, whose outcome is noted.
func (p *pump) lookAt(ctx context.Context, rooms []*room) (streams.Watermarks, error) {
	edges, err := readEdges(ctx, p.log, p.partition, rooms)
	p.looked(ctx, err)
	return edges, err
}

// looked notes the outcome of a look at the log, unless it was given up.
func (p *pump) looked(ctx context.Context, err error) {
	switch {
	case err == nil:
		p.answered()
	case ctx.Err() == nil:
		p.unanswered(err)
	}
}

// compare looks for rooms that are behind what the log said one period ago: what
// was logged by then has had the time to arrive. All others are proven complete
// up to that moment, which is the position that keep-alives carry.
func (p *pump) compare(ctx context.Context, now check) {
	if p.recovering {
		return
	}
	then := p.last
	p.last = &now
	if then == nil {
		return
	}
	var complete []*room
	for i, r := range then.rooms {
		pos, _ := r.position()
		if !pos.Before(then.edges.CompleteAt(i)) {
			complete = append(complete, r)
		}
	}
	p.pass(complete, then.edges.Last)
	if behind := len(then.rooms) - len(complete); behind > 0 {
		p.logger.Info("the tail check found rooms behind their log", "rooms", behind)
		p.repair(ctx, causeTail, func() error { return p.readAll(ctx) })
	}
}
