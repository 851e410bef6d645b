package scenarios_test

import (
	"context"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tidemark/tidemark/streams"
)

// A faultyLog is a node's real log. A test can make it lose live events and break feeds,
// hold and count reads, and count the events in memory.
type faultyLog struct {
	streams.Log

	// lose, if set, selects live events that do not arrive. They stay in the log.
	lose atomic.Pointer[func(*streams.Event) bool]

	// gate, if set, blocks each read of events until it is closed.
	gate atomic.Pointer[chan struct{}]

	reads  atomic.Int64 // calls of After and Before
	looks  atomic.Int64 // calls of Edges for at least one room
	counts atomic.Bool  // count the events in memory
	held   atomic.Int64 // events that the node received and still holds

	mu    sync.Mutex // guards the field below
	feeds map[*faultyFeed]bool
}

func (l *faultyLog) Watermarks(ctx context.Context, p streams.Partition, rooms []streams.Room) (streams.Watermarks, error) {
	if len(rooms) > 0 {
		l.looks.Add(1)
	}
	return l.Log.Watermarks(ctx, p, rooms)
}

func (l *faultyLog) After(ctx context.Context, room streams.Room, after, through streams.ID, limit streams.ReadLimit) (streams.Page, error) {
	if err := l.admit(ctx); err != nil {
		return streams.Page{}, err
	}
	page, err := l.Log.After(ctx, room, after, through, limit)
	l.count(page.Events...)
	return page, err
}

func (l *faultyLog) Before(ctx context.Context, room streams.Room, before streams.ID, limit streams.ReadLimit) (streams.Page, error) {
	if err := l.admit(ctx); err != nil {
		return streams.Page{}, err
	}
	page, err := l.Log.Before(ctx, room, before, limit)
	l.count(page.Events...)
	return page, err
}

// admit counts a read, and blocks it while reads are held.
func (l *faultyLog) admit(ctx context.Context) error {
	l.reads.Add(1)
	gate := l.gate.Load()
	if gate == nil {
		return nil
	}
	select {
	case <-*gate:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// holdReads holds all reads until release is called.
func (l *faultyLog) holdReads() (release func()) {
	gate := make(chan struct{})
	l.gate.Store(&gate)
	return sync.OnceFunc(func() { close(gate) })
}

// count starts counting each event until the garbage collector frees it.
func (l *faultyLog) count(events ...*streams.Event) {
	if !l.counts.Load() {
		return
	}
	for _, e := range events {
		l.held.Add(1)
		runtime.AddCleanup(e, func(held *atomic.Int64) { held.Add(-1) }, &l.held)
	}
}

// loseWhere loses the live events that lost selects; nil loses none.
func (l *faultyLog) loseWhere(lost func(*streams.Event) bool) {
	if lost == nil {
		l.lose.Store(nil)
		return
	}
	l.lose.Store(&lost)
}

// breakFeeds breaks the live side like a lost connection.
func (l *faultyLog) breakFeeds() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for f := range l.feeds {
		select {
		case f.breaks <- struct{}{}:
		default: // it is already breaking
		}
	}
}

// Feed implements streams.Log.
func (l *faultyLog) Feed(p streams.Partition) streams.Feed {
	f := &faultyFeed{
		log: l, p: p, inner: l.Log.Feed(p),
		out:    make(chan streams.FeedMessage),
		breaks: make(chan struct{}, 1),
		stop:   make(chan struct{}),
		rooms:  make(map[streams.Room]uint64),
	}
	l.mu.Lock()
	l.feeds[f] = true
	l.mu.Unlock()
	f.running.Go(f.run)
	return f
}

// A faultyFeed is a sequence of real feeds.
type faultyFeed struct {
	// Fixed by faultyLog.Feed.
	log     *faultyLog
	p       streams.Partition
	out     chan streams.FeedMessage
	breaks  chan struct{}
	stop    chan struct{}
	running sync.WaitGroup
	closing sync.Once

	mu    sync.Mutex // guards the fields below
	inner streams.Feed
	rooms map[streams.Room]uint64
}

func (f *faultyFeed) Messages() <-chan streams.FeedMessage { return f.out }

func (f *faultyFeed) Join(room streams.Room, ticket uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rooms[room] = ticket
	f.inner.Join(room, ticket)
}

func (f *faultyFeed) Leave(room streams.Room) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.rooms, room)
	f.inner.Leave(room)
}

func (f *faultyFeed) Close() {
	f.closing.Do(func() {
		close(f.stop)
		f.running.Wait()
		f.inner.Close()
		close(f.out)
		f.log.mu.Lock()
		defer f.log.mu.Unlock()
		delete(f.log.feeds, f)
	})
}

func (f *faultyFeed) run() {
	signals := f.inner.Messages()
	for {
		select {
		case s, ok := <-signals:
			if !ok {
				return
			}
			if s.Event != nil {
				if lost := f.log.lose.Load(); lost != nil && (*lost)(s.Event) {
					continue
				}
				f.log.count(s.Event)
			}
			f.say(s)
		case <-f.breaks:
			signals = f.again()
		case <-f.stop:
			return
		}
	}
}

// again replaces the feed by a new one, as after a lost connection.
func (f *faultyFeed) again() <-chan streams.FeedMessage {
	f.inner.Close() // only run replaces it
	f.say(streams.FeedMessage{Lost: true})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inner = f.log.Log.Feed(f.p)
	for room, ticket := range f.rooms {
		f.inner.Join(room, ticket)
	}
	return f.inner.Messages()
}

func (f *faultyFeed) say(s streams.FeedMessage) {
	select {
	case f.out <- s:
	case <-f.stop:
	}
}

// A muteProxy forwards TCP connections to a server and can hold back its answers: a reply
// that never comes, on a connection that does not end.
type muteProxy struct {
	listener net.Listener
	target   string
	running  sync.WaitGroup

	mu    sync.Mutex // guards the fields below
	open  chan struct{}
	conns []net.Conn
}

func newMuteProxy(t *testing.T, target string) *muteProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &muteProxy{listener: l, target: target, open: make(chan struct{})}
	close(p.open)
	p.running.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

func (p *muteProxy) addr() string { return p.listener.Addr().String() }

// mute holds back the server's answers until the returned function is called.
func (p *muteProxy) mute() (unmute func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	open := make(chan struct{})
	p.open = open
	return sync.OnceFunc(func() { close(open) })
}

func (p *muteProxy) close() {
	p.listener.Close()
	p.mu.Lock()
	conns := slices.Clone(p.conns)
	p.mu.Unlock()
	for _, c := range conns {
		c.Close()
	}
	p.running.Wait()
}

func (p *muteProxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, server)
		p.mu.Unlock()
		p.running.Go(func() { forward(server, client, func() {}) })
		p.running.Go(func() { forward(client, server, p.await) })
	}
}

// await returns when answers are no longer held back.
func (p *muteProxy) await() {
	p.mu.Lock()
	open := p.open
	p.mu.Unlock()
	<-open
}

func forward(to, from net.Conn, await func()) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		await()
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}
