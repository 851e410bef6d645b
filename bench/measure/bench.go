// Package measure runs the work that Tidemark and its peers are compared by. Each
// measure has its own file.
//
// A measure is one repetition: it runs the same work for one system after another, so
// repetitions of different systems are interleaved. Each system is started fresh, with
// its own Redis if it uses one and with its own load generator. Deliveries are checked.
// A figure includes the counts of missing, repeated and out-of-order events.
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

// A Bench holds the state that all measures share. It must be used by one goroutine.
type Bench struct {
	Run    *result.Run // collects the results
	Log    io.Writer   // progress messages for the user
	Self   string      // path of this program, which also generates the load
	Module string      // directory of Tidemark's module and its Go benchmarks

	Tidemark   *system.Tidemark
	BareWrites *system.BareWrites
	Peers      []system.System // the installed ones

	Small bool // quick check: a few clients and a fraction of a second per measure
}

// systems returns Tidemark and its peers.
func (b *Bench) systems() []system.System {
	return append([]system.System{b.Tidemark}, b.Peers...)
}

// A setup describes how to start a system.
type setup struct {
	retain int  // events that a room must keep
	redis  bool // whether to keep events in Redis
	nodes  int  // of Tidemark; 0 means 1
}

// A trial is one running system with a load generator.
type trial struct {
	ctx    context.Context
	small  bool
	redis  *system.Redis // nil without Redis
	load   *load.Process
	pids   []int // of the system
	log    io.Writer
	totals load.Report
}

// withSystem starts a system, calls do, and stops the system.
func (b *Bench) withSystem(ctx context.Context, s system.System, how setup, do func(*trial) error) error {
	dir, err := os.MkdirTemp("", "tidemark-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	tr := &trial{ctx: ctx, small: b.Small, log: b.Log}
	if how.redis {
		if tr.redis, err = system.StartRedis(ctx, dir); err != nil {
			return err
		}
		defer tr.redis.Stop()
	}
	if err := b.start(ctx, s, system.Options{Dir: dir, Retain: how.retain, Redis: tr.redis}, how.nodes); err != nil {
		return fmt.Errorf("%s: %w", s.Name(), err)
	}
	defer s.Stop()
	tr.pids = s.PIDs()
	if tr.load, err = load.StartProcess(b.Self, "load"); err != nil {
		return err
	}
	defer tr.load.Close()
	if err := do(tr); err != nil {
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

// do executes a command of the load generator.
func (tr *trial) do(c load.Command) (load.Report, error) {
	if tr.small {
		c = shrink(c)
	}
	r, err := tr.load.Do(tr.ctx, c)
	tr.totals = r
	return r, err
}

// counts returns the delivery counts of the whole trial.
func (tr *trial) counts() result.Counts {
	return result.Counts{
		Events: tr.totals.Delivered, Missing: tr.totals.Missing + tr.totals.Gaps,
		Repeated: tr.totals.Repeated, OutOfOrder: tr.totals.OutOfOrder,
	}
}

// follow opens clients and lets the system idle for settleTime.
func (tr *trial) follow(f load.Follow, rooms load.Rooms, clients int) error {
	if _, err := tr.do(load.Command{Open: &load.Open{Follow: f, Rooms: rooms, Clients: clients}}); err != nil {
		return err
	}
	return tr.pause(settleTime)
}

// settleTime is how long a system may idle after many clients have connected.
const settleTime = 2 * time.Second

func (tr *trial) pause(t time.Duration) error {
	_, err := tr.do(load.Command{Pause: &load.Pause{Time: t}})
	return err
}

// work executes Work and returns the processor time that the system and Redis used for
// it.
func (tr *trial) work(w load.Work) (r load.Report, used cpuTimes, err error) {
	before, err := tr.cpuTimes()
	if err != nil {
		return r, used, err
	}
	if r, err = tr.do(load.Command{Work: &w}); err != nil {
		return r, used, err
	}
	after, err := tr.cpuTimes()
	used = cpuTimes{after.server - before.server, after.redis - before.redis, after.load - before.load}
	fmt.Fprintf(tr.log, "   %.1f s, cores used: load %.2f, server %.2f, Redis %.2f\n", r.Elapsed.Seconds(),
		used.load.Seconds()/r.Elapsed.Seconds(), used.server.Seconds()/r.Elapsed.Seconds(), used.redis.Seconds()/r.Elapsed.Seconds())
	return r, used, err
}

// cpuTimes holds processor times.
type cpuTimes struct{ server, redis, load time.Duration }

func (tr *trial) cpuTimes() (u cpuTimes, err error) {
	if u.load, err = system.CPU(tr.load.PID()); err != nil {
		return u, err
	}
	if u.server, err = system.CPU(tr.pids...); err != nil || tr.redis == nil {
		return u, err
	}
	u.redis, err = system.CPU(tr.redis.PIDs()...)
	return u, err
}

// observe records a value of a system. Only Tidemark's figures keep their targets.
func (b *Bench) observe(f result.Figure, s system.System, value float64, counts result.Counts) {
	f.System = s.Name()
	if f.System != result.Tidemark {
		f.Targets = nil
	}
	b.record(f, value, counts)
}

// record stores a value and prints it to the log.
func (b *Bench) record(f result.Figure, value float64, counts result.Counts) {
	b.Run.Observe(f, value, counts)
	fmt.Fprintf(b.Log, "%d  %-11s %-70s %9s %s", f.Measure, result.SystemName(f.System), f.Name, result.Number(value), f.Unit)
	if !counts.Clean() {
		fmt.Fprintf(b.Log, "  (%v)", counts)
	}
	fmt.Fprintln(b.Log)
}

// observeAt records one of Tidemark's values in a series.
func (b *Bench) observeAt(s result.Series, x, value float64, counts result.Counts) {
	s.System = result.Tidemark
	b.Run.ObserveAt(s, x, value, counts)
	fmt.Fprintf(b.Log, "%d  %s, %s %s: %s %s\n", s.Measure, s.Name, result.Number(x), s.Over, result.Number(value), s.Unit)
}

// forEach calls do for one system after another. An error of one does not stop the
// others.
func forEach(systems []system.System, do func(system.System) error) error {
	var errs []error
	for _, s := range systems {
		errs = append(errs, do(s))
	}
	return errors.Join(errs...)
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// perSecond returns count events in d as a rate.
func perSecond(count int64, d time.Duration) float64 { return float64(count) / d.Seconds() }
