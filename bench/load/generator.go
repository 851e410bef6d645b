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
	// defaultMaxConnecting limits simultaneous connection attempts unless a command
	// sets its own limit. It is below the listen backlog of every measured server.
	defaultMaxConnecting = 200

	// defaultStallTimeout is how long the generator waits without any progress before
	// it counts outstanding events as missing.
	defaultStallTimeout = 20 * time.Second

	// bufferSize limits one read. Messages larger than half of it are rejected.
	bufferSize = 256 << 10
)

// An endpoint handles the readiness events of its socket.
type endpoint interface {
	ready(events uint32) error
}

// A room holds what the generator knows about one room.
type room struct {
	name         string
	followers    int
	acknowledged uint64   // events
	next         []uint32 // number of the next event, by publisher
}

// number allocates the next event number of a publisher.
func (r *room) number(publisher int) uint32 {
	if publisher >= len(r.next) {
		r.next = append(r.next, make([]uint32, publisher+1-len(r.next))...)
	}
	r.next[publisher]++
	return r.next[publisher] - 1
}

// A Generator owns clients and publishers and executes commands. It must be used by one
// goroutine.
type Generator struct {
	epoll        int
	start        time.Time
	stallTimeout time.Duration
	endpoints    []endpoint // by file descriptor
	events       []unix.EpollEvent
	buf          []byte // receive buffer
	scratch      []byte // send buffer
	body         []byte // request body, copied into scratch

	clients    []*client
	publishers []*publisher
	rooms      map[string]*room
	toConnect  []*client // clients that wait for a free connection attempt
	opening    int       // clients that are connecting or subscribing

	now          int64 // time of the last read
	expected     int64 // total deliveries expected
	report       Report
	latencies    []int64 // of the current command
	job          *job    // of the current command, or nil
	lastProgress int64   // time of the last delivery, answer or opened connection
	lastDelivery int64   // time of the last delivery
}

// New returns a generator without clients. The caller must Close it.
func New() (*Generator, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	return &Generator{
		epoll:        epoll,
		start:        time.Now(),
		stallTimeout: defaultStallTimeout,
		events:       make([]unix.EpollEvent, 512),
		buf:          make([]byte, bufferSize),
		rooms:        make(map[string]*room),
	}, nil
}

// Close closes all connections.
func (g *Generator) Close() error {
	g.reset()
	return unix.Close(g.epoll)
}

// Do executes a command. After an error the only useful command is Reset.
func (g *Generator) Do(c Command) (Report, error) {
	g.report.Elapsed, g.report.Answered, g.report.Published, g.report.Cuts = 0, 0, 0, 0
	g.latencies = g.latencies[:0]
	g.now = g.clock()
	g.lastProgress, g.lastDelivery = g.now, g.now
	err := g.do(c)
	g.report.Missing = g.expected - g.report.Delivered
	g.report.Latency = distribution(g.latencies)
	return g.report, err
}

func (g *Generator) do(c Command) error {
	switch {
	case c.Open != nil:
		return g.open(*c.Open)
	case c.Work != nil:
		return g.work(*c.Work)
	case c.Pause != nil:
		return g.pause(c.Pause.Time)
	case c.Cut != nil:
		for _, client := range g.clients {
			client.disconnect()
		}
		return nil
	case c.Resume != nil:
		return g.resume(*c.Resume)
	case c.Reset != nil:
		g.reset()
		return nil
	}
	return errors.New("empty command")
}

// clock returns the nanoseconds since the generator was created.
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
	closeWithReset(fd)
}

// step waits for socket events, at most until the given time, and handles them. An
// event of a socket closed in the meantime is ignored, or wakes a new connection with
// the same descriptor without effect.
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

// runUntil calls step until done returns true, or until there was no progress for
// stallTimeout.
func (g *Generator) runUntil(done func() bool) error {
	for !done() && g.clock() < g.lastProgress+int64(g.stallTimeout) {
		before := g.report.Delivered - int64(g.opening)
		if err := g.step(g.clock() + int64(g.stallTimeout)); err != nil {
			return err
		}
		if g.report.Delivered-int64(g.opening) != before {
			g.lastProgress = g.clock()
		}
	}
	return nil
}

// delivered counts one distinct event. sentAt reads the time at which it was sent from
// data.
func (g *Generator) delivered(sentAt func([]byte) int64, data []byte) {
	g.report.Delivered++
	g.lastDelivery = g.now
	if g.job != nil && g.job.Latency && g.job.Disconnects == nil {
		g.latencies = append(g.latencies, g.now-sentAt(data))
	}
}

// complete reports whether all clients follow their rooms and have every expected
// event.
func (g *Generator) complete() bool {
	return g.opening == 0 && len(g.toConnect) == 0 && g.report.Delivered >= g.expected
}

// open executes Open.
func (g *Generator) open(o Open) error {
	target, err := newTarget(o.Follow)
	if err != nil {
		return err
	}
	for i := range o.Clients {
		r := g.room(o.Rooms.Name(i))
		r.followers++
		c := &client{conn: conn{fd: -1}, g: g, target: target, room: r, baseline: r.acknowledged}
		c.sequence.startAt(r.next)
		g.clients = append(g.clients, c)
		g.toConnect = append(g.toConnect, c)
	}
	return g.connectAll(o.MaxConnecting, func() bool { return g.opening == 0 && len(g.toConnect) == 0 })
}

// resume executes Resume.
func (g *Generator) resume(r Resume) error {
	for _, c := range g.clients {
		if c.state == disconnected {
			g.toConnect = append(g.toConnect, c)
		}
	}
	return g.connectAll(r.MaxConnecting, g.complete)
}

// connectAll connects the clients in toConnect and runs until done returns true.
func (g *Generator) connectAll(limit int, done func() bool) error {
	if limit == 0 {
		limit = defaultMaxConnecting
	}
	g.job = &job{maxConnecting: limit}
	defer func() { g.job = nil }()
	start := g.clock()
	if err := g.runUntil(done); err != nil {
		return err
	}
	if g.opening > 0 || len(g.toConnect) > 0 {
		return fmt.Errorf("%d of %d clients do not follow their room after %v without progress", g.opening+len(g.toConnect), len(g.clients), g.stallTimeout)
	}
	g.report.Elapsed = time.Duration(g.lastDelivery - start)
	return nil
}

// connectMore starts connection attempts up to the limit of the job.
func (g *Generator) connectMore() error {
	for len(g.toConnect) > 0 && g.opening < g.job.maxConnecting {
		c := g.toConnect[0]
		g.toConnect = g.toConnect[1:]
		g.now = g.clock()
		if err := c.reconnect(g.now); err != nil {
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

func (g *Generator) reset() {
	for _, c := range g.clients {
		c.disconnect()
	}
	g.closePublishers()
	g.clients, g.toConnect, g.rooms = nil, nil, make(map[string]*room)
	g.opening, g.expected, g.report, g.job = 0, 0, Report{}, nil
}

// closePublishers closes the publishers' connections.
func (g *Generator) closePublishers() {
	for _, p := range g.publishers {
		if p.fd >= 0 {
			g.drop(p.fd)
		}
	}
	g.publishers = nil
}

// distribution summarizes times. It sorts them in place.
func distribution(times []int64) Distribution {
	if len(times) == 0 {
		return Distribution{}
	}
	slices.Sort(times)
	at := func(share float64) time.Duration {
		return time.Duration(times[int(math.Ceil(share*float64(len(times))))-1])
	}
	return Distribution{Count: len(times), P50: at(0.5), P99: at(0.99), Max: at(1)}
}
