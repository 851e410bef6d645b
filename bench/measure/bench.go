// Package measure does the work by which Tidemark and its peers are compared: one
// file for each measure.
//
// A measure is one repetition: the same work for one system after the other, so that
// repetitions of different systems are interleaved. Each system is started anew,
// with its own Redis where it has one, and a load generator of its own. What was
// delivered is checked; a figure has the counts of what was missing, repeated or out
// of order.
package measure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/tidemark/tidemark/bench/load"
	"github.com/tidemark/tidemark/bench/result"
	"github.com/tidemark/tidemark/bench/system"
)

// A Bench is what all measures share. It is used by one goroutine.
type Bench struct {
	Run    *result.Run // what is measured goes here
	Log    io.Writer   // progress, for people
	Self   string      // this program, which generates the load
	Module string      // the directory of Tidemark's module, for its Go benchmarks

	Tidemark *system.Tidemark
	Floor    *system.Floor
	Peers    []system.System // those that are installed

	Small bool // a handful of clients for a moment: to see that everything works
}

// A Measure is one repetition of a measure.
type Measure func(b *Bench, ctx context.Context) error

// Measures are all of them, by their number, in the order in which they are done.
// One that is done Once compares a system with itself.
var Measures = []struct {
	Number int
	Do     Measure
	Once   bool
}{
	{Number: 1, Do: (*Bench).Broadcast},
	{Number: 2, Do: (*Bench).Memory},
	{Number: 3, Do: (*Bench).Flood},
	{Number: 4, Do: (*Bench).Publishing},
	{Number: 5, Do: (*Bench).Latency},
	{Number: 6, Do: (*Bench).Storm},
	{Number: 7, Do: (*Bench).Registry},
	{Number: 8, Do: (*Bench).BadLines},
	{Number: 9, Do: (*Bench).Growth, Once: true},
}

// all are Tidemark and its peers.
func (b *Bench) all() []system.System {
	return append([]system.System{b.Tidemark}, b.Peers...)
}

// A setup says how a system is started.
type setup struct {
	retain int  // events that a room has to keep
	redis  bool // whether the events are in Redis
	nodes  int  // of Tidemark; 0 means 1
}

// A session is one system that runs, with a load generator.
type session struct {
	ctx   context.Context
	small bool
	redis *system.Redis // nil: without
	load  *load.Process
	pids  []int // the system's
	log   io.Writer
	known load.Report
}

// with starts a system, and stops it when do returns.
func (b *Bench) with(ctx context.Context, s system.System, how setup, do func(*session) error) error {
	dir, err := os.MkdirTemp("", "tidemark-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	k := &session{ctx: ctx, small: b.Small, log: b.Log}
	if how.redis {
		if k.redis, err = system.StartRedis(ctx, dir); err != nil {
			return err
		}
		defer k.redis.Stop()
	}
	if err := b.start(ctx, s, system.Options{Dir: dir, Retain: how.retain, Redis: k.redis}, how.nodes); err != nil {
		return fmt.Errorf("%s: %w", s.Name(), err)
	}
	defer s.Stop()
	k.pids = s.PIDs()
	if k.load, err = load.StartProcess(b.Self, "load"); err != nil {
		return err
	}
	defer k.load.Close()
	if err := do(k); err != nil {
		return fmt.Errorf("%s: %w", s.Name(), err)
	}
	return nil
}

func (b *Bench) start(ctx context.Context, s system.System, o system.Options, nodes int) error {
	if t, ok := s.(*system.Tidemark); ok && nodes > 1 {
		return t.StartNodes(ctx, o, nodes)
	}
	return s.Start(ctx, o)
}

// do does a command.
func (k *session) do(c load.Command) (load.Report, error) {
	if k.small {
		c = small(c)
	}
	r, err := k.load.Do(k.ctx, c)
	k.known = r
	return r, err
}

// counts are those of all that was delivered in this session.
func (k *session) counts() result.Counts {
	return result.Counts{
		Events: k.known.Delivered, Missing: k.known.Missing + k.known.Gaps,
		Repeated: k.known.Repeated, OutOfOrder: k.known.OutOfOrder,
	}
}

// follow opens clients, and pauses until the system has come to rest.
func (k *session) follow(f load.Follow, rooms load.Rooms, clients int) error {
	if _, err := k.do(load.Command{Open: &load.Open{Follow: f, Rooms: rooms, Clients: clients}}); err != nil {
		return err
	}
	return k.pause(settle)
}

// settle is how long a system has to come to rest after many have connected.
const settle = 2 * time.Second

func (k *session) pause(t time.Duration) error {
	_, err := k.do(load.Command{Pause: &load.Pause{Time: t}})
	return err
}

// work does work, and returns what the system's processes, and Redis, used for it.
func (k *session) work(w load.Work) (r load.Report, used usage, err error) {
	before, err := k.used()
	if err != nil {
		return r, used, err
	}
	if r, err = k.do(load.Command{Work: &w}); err != nil {
		return r, used, err
	}
	after, err := k.used()
	used = usage{after.server - before.server, after.redis - before.redis, after.load - before.load}
	fmt.Fprintf(k.log, "   %.1f s, cores used: load %.2f, server %.2f, Redis %.2f\n", r.Elapsed.Seconds(),
		used.load.Seconds()/r.Elapsed.Seconds(), used.server.Seconds()/r.Elapsed.Seconds(), used.redis.Seconds()/r.Elapsed.Seconds())
	return r, used, err
}

// A usage is processor time.
type usage struct{ server, redis, load time.Duration }

func (k *session) used() (u usage, err error) {
	if u.load, err = system.CPU(k.load.PID()); err != nil {
		return u, err
	}
	if u.server, err = system.CPU(k.pids...); err != nil || k.redis == nil {
		return u, err
	}
	u.redis, err = system.CPU(k.redis.PIDs()...)
	return u, err
}

// observe notes a value of a system.
func (b *Bench) observe(f result.Figure, s system.System, value float64, counts result.Counts) {
	f.System = s.Name()
	if f.System != result.Tidemark {
		f.Reach = nil
	}
	b.note(f, value, counts)
}

// note notes a value, and tells of it.
func (b *Bench) note(f result.Figure, value float64, counts result.Counts) {
	b.Run.Observe(f, value, counts)
	fmt.Fprintf(b.Log, "%d  %-10s %-62s %9s %s", f.Measure, f.System, f.Name, result.Number(value), f.Unit)
	if !counts.Whole() {
		fmt.Fprintf(b.Log, "  (%v)", counts)
	}
	fmt.Fprintln(b.Log)
}

// observeAt notes a value of Tidemark's in a series.
func (b *Bench) observeAt(s result.Series, x, value float64, counts result.Counts) {
	s.System = result.Tidemark
	b.Run.ObserveAt(s, x, value, counts)
	fmt.Fprintf(b.Log, "%d  %s, %s %s: %s %s\n", s.Measure, s.Name, result.Number(x), s.Over, result.Number(value), s.Unit)
}

// forEach does something for one system after the other. One that fails does not
// keep the others from being measured.
func forEach(systems []system.System, do func(system.System) error) error {
	var errs []error
	for _, s := range systems {
		errs = append(errs, do(s))
	}
	return errors.Join(errs...)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// perSecond is how many a second so many in d are.
func perSecond(count int64, d time.Duration) float64 { return float64(count) / d.Seconds() }
