package load

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// atOnce is how many connections may be under way at once where nothing else is
	// said: fewer than any server's backlog.
	atOnce = 200

	// patience is how long nothing may happen before what is missing is taken as lost.
	patience = 20 * time.Second

	// bufferSize bounds one read. Messages that are larger than half of it are refused.
	bufferSize = 256 << 10
)

// An endpoint is told when there is something to do on its socket.
type endpoint interface {
	ready(events uint32) error
}

// A room is what the generator knows of one.
type room struct {
	name         string
	followers    int
	acknowledged uint64   // events
	next         []uint32 // the number of the next event, by publisher
}

// number takes the next one of a publisher.
func (r *room) number(publisher int) uint32 {
	if publisher >= len(r.next) {
		r.next = append(r.next, make([]uint32, publisher+1-len(r.next))...)
	}
	r.next[publisher]++
	return r.next[publisher] - 1
}

// A Generator has clients and publishers, and does what commands say. It is used by
// one goroutine.
type Generator struct {
	epoll     int
	start     time.Time
	patience  time.Duration
	endpoints []endpoint // by file descriptor
	events    []unix.EpollEvent
	buf       []byte // what is being read
	scratch   []byte // what is being sent
	body      []byte // the body within it

	clients    []*client
	publishers []*publisher
	rooms      map[string]*room
	connecting []*client // those that will connect when others have
	opening    int       // connections under way

	now       int64 // when what is being looked at was read
	owed      int64 // deliveries that there have to be in the end
	report    Report
	latencies []int64 // of the command under way
	work      *work   // of the command under way, or nil
	moved     int64   // when something last happened
	last      int64   // when the last event was delivered
}

// New returns a generator without clients. Close it.
func New() (*Generator, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	return &Generator{
		epoll:    epoll,
		start:    time.Now(),
		patience: patience,
		events:   make([]unix.EpollEvent, 512),
		buf:      make([]byte, bufferSize),
		rooms:    make(map[string]*room),
	}, nil
}

// Close closes all connections.
func (g *Generator) Close() error {
	g.forget()
	return unix.Close(g.epoll)
}

// Do does what the command says. After an error, Forget is all that can be done.
func (g *Generator) Do(c Command) (Report, error) {
	g.report.Elapsed, g.report.Answered, g.report.Published, g.report.Cuts = 0, 0, 0, 0
	g.latencies = g.latencies[:0]
	g.now = g.clock()
	g.moved, g.last = g.now, g.now
	err := g.do(c)
	g.report.Missing = g.owed - g.report.Delivered
	g.report.Latency = spread(g.latencies)
	return g.report, err
}

func (g *Generator) do(c Command) error {
	switch {
	case c.Open != nil:
		return g.open(*c.Open)
	case c.Work != nil:
		return g.doWork(*c.Work)
	case c.Pause != nil:
		return g.pause(c.Pause.Time)
	case c.Cut != nil:
		for _, client := range g.clients {
			client.cut()
		}
		return nil
	case c.Resume != nil:
		return g.resume(*c.Resume)
	case c.Forget != nil:
		g.forget()
		return nil
	}
	return errors.New("an empty command")
}

// clock is the time since the generator was made, in nanoseconds.
func (g *Generator) clock() int64 { return int64(time.Since(g.start)) }

func (g *Generator) watch(fd int, e endpoint) error {
	if missing := fd + 1 - len(g.endpoints); missing > 0 {
		g.endpoints = append(g.endpoints, make([]endpoint, missing)...)
	}
	g.endpoints[fd] = e
	const all = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET
	err := unix.EpollCtl(g.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: all & math.MaxUint32, Fd: int32(fd)})
	if err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

func (g *Generator) drop(fd int) {
	g.endpoints[fd] = nil
	reset(fd)
}

// step waits until something happens, or until that time, and deals with it. An
// event for a connection that was closed meanwhile is nobody's, or wakes another
// one in vain.
func (g *Generator) step(until int64) error {
	if err := g.connectMore(); err != nil {
		return err
	}
	n, err := wait(g.epoll, g.events, time.Duration(until-g.clock()))
	if err != nil {
		return err
	}
	for _, event := range g.events[:n] {
		e := g.endpoints[event.Fd]
		if e == nil {
			continue
		}
		if err := e.ready(event.Events); err != nil {
			return err
		}
	}
	return nil
}

// until steps until done, or until nothing has happened for as long as patience allows.
func (g *Generator) until(done func() bool) error {
	for !done() && g.clock() < g.moved+int64(g.patience) {
		before := g.report.Delivered - int64(g.opening)
		if err := g.step(g.clock() + int64(g.patience)); err != nil {
			return err
		}
		if g.report.Delivered-int64(g.opening) != before {
			g.moved = g.clock()
		}
	}
	return nil
}

// delivered notes one distinct event, the data of which say when it was sent.
func (g *Generator) delivered(sentAt func([]byte) int64, data []byte) {
	g.report.Delivered++
	g.last = g.now
	if g.work != nil && g.work.Latency && g.work.BadLines == nil {
		g.latencies = append(g.latencies, g.now-sentAt(data))
	}
}

// complete reports whether all clients follow their rooms and have what they are owed.
func (g *Generator) complete() bool {
	return g.opening == 0 && len(g.connecting) == 0 && g.report.Delivered >= g.owed
}

// open opens clients.
func (g *Generator) open(o Open) error {
	target, err := newTarget(o.Follow)
	if err != nil {
		return err
	}
	for i := range o.Clients {
		r := g.room(o.Rooms.Name(i))
		r.followers++
		c := &client{conn: conn{fd: -1}, g: g, target: target, room: r, base: r.acknowledged}
		c.seq.startAt(r.next)
		g.clients = append(g.clients, c)
		g.connecting = append(g.connecting, c)
	}
	return g.connectAll(o.AtOnce, func() bool { return g.opening == 0 && len(g.connecting) == 0 })
}

// resume connects all clients again.
func (g *Generator) resume(r Resume) error {
	for _, c := range g.clients {
		if c.state == away {
			g.connecting = append(g.connecting, c)
		}
	}
	return g.connectAll(r.AtOnce, g.complete)
}

// connectAll connects those that wait for it, until done.
func (g *Generator) connectAll(limit int, done func() bool) error {
	if limit == 0 {
		limit = atOnce
	}
	g.work = &work{atOnce: limit}
	defer func() { g.work = nil }()
	start := g.clock()
	if err := g.until(done); err != nil {
		return err
	}
	if g.opening > 0 || len(g.connecting) > 0 {
		return fmt.Errorf("%d of %d clients do not follow after %v", g.opening+len(g.connecting), len(g.clients), g.patience)
	}
	g.report.Elapsed = time.Duration(g.last - start)
	return nil
}

// connectMore lets as many connect as may be under way at once.
func (g *Generator) connectMore() error {
	for len(g.connecting) > 0 && g.opening < g.work.atOnce {
		c := g.connecting[0]
		g.connecting = g.connecting[1:]
		g.now = g.clock()
		if err := c.comeBack(g.now); err != nil {
			return err
		}
	}
	return nil
}

func (g *Generator) room(name string) *room {
	r := g.rooms[name]
	if r == nil {
		r = &room{name: name}
		g.rooms[name] = r
	}
	return r
}

func (g *Generator) pause(t time.Duration) error {
	for end := g.clock() + int64(t); g.clock() < end; {
		if err := g.step(end); err != nil {
			return err
		}
	}
	return nil
}

func (g *Generator) forget() {
	for _, c := range g.clients {
		c.cut()
	}
	g.hangUp()
	g.clients, g.connecting, g.rooms = nil, nil, make(map[string]*room)
	g.opening, g.owed, g.report, g.work = 0, 0, Report{}, nil
}

// hangUp closes the publishers' connections.
func (g *Generator) hangUp() {
	for _, p := range g.publishers {
		if p.fd >= 0 {
			g.drop(p.fd)
		}
	}
	g.publishers = nil
}

// spread describes times, which it sorts.
func spread(times []int64) Spread {
	if len(times) == 0 {
		return Spread{}
	}
	slices.Sort(times)
	at := func(share float64) time.Duration {
		return time.Duration(times[int(math.Ceil(share*float64(len(times))))-1])
	}
	return Spread{Count: len(times), P50: at(0.5), P99: at(0.99), Max: at(1)}
}
