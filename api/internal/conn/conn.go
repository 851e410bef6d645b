package conn

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/limits"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
)

// Env is what all connections of a server share.
type Env struct {
	Scheduler *Scheduler
	Set       *Set
	InFlight  *InFlight                   // counts the connections, and may count requests too
	Open      [Protocols]prometheus.Gauge // connections
	Unsent    *limits.MemoryPool          // of the data that waits for clients in blocked writes; nil for no limit
	Problems  *problem.Reporter
	Logger    *slog.Logger
	Cut       context.Context // ends when a shutdown has run out of time
	Started   time.Time       // connections keep times as the distance to it, which takes less memory

	WriteTimeout time.Duration // of a write that waits for the client
	KeepAlive    time.Duration // the longest silence on a connection

	unsentWrites sync.Pool // of *unsentWrite
}

// A Recorder writes the access record of a connection.
type Recorder interface {
	// Wrote notes a write of bytes that carries events.
	Wrote(bytes, events int)
	// EndReason notes why the connection ends, as a problem's code or one of the reasons
	// below. Only the first call counts.
	EndReason(code string)
	// Ended writes the record of a connection that was answered with status.
	Ended(status int)
}

// The reasons for the end of a connection that are not problems.
const (
	ClientLeft  = "client-left"  // the client has closed, or its network connection broke
	ClientStuck = "client-stuck" // the client did not read in time or while memory was short, or did not answer pings
	cut         = "cut"          // a shutdown ran out of time
)

// A Conn is a client's connection that was taken over from net/http: the part that SSE
// streams and WebSocket sessions have in common. Its task owns it, except where noted.
// Beside the task one goroutine reads. It ends when the client leaves or the transport is
// closed, and reports that with ReaderDone; only then does the task end.
//
// The owner sets the exported fields, and calls Init and Start in this order.
type Conn struct {
	// A broadcast wakes and queues ten thousand tasks that are not in the processor's cache.
	// The fields that this needs come first, in one cache line.
	task    Task
	Env     *Env
	reasons atomic.Uint32 // WakeReasons; any goroutine may add some

	Protocol   Protocol
	closed     bool // the transport is closed, and the task waits for the reader
	writer     *Writer
	Recorder   Recorder     // nil without an access log
	Slot       *limits.Slot // released at the end; nil without a limit
	toldOutage uint64       // the last outage of the log that the client was told about

	// waiting cancels the wait of a detached task; nil without one. After the end of the
	// reader it is &readerEnded for good.
	waiting atomic.Pointer[context.CancelFunc]
	evicted atomic.Bool // the node could not keep the data that the client did not read
}

// A WakeReason says why a task runs. Several may be combined.
type WakeReason uint32

const (
	KeepAliveDue   WakeReason = 1 << iota // nothing was sent for KeepAlive
	PingDue                               // a ping must be sent
	DrainRequested                        // the client must move to another node
	ReaderDone                            // the reader has ended
	ExpiryDue                             // the grant ends, or is about to
)

// Has reports whether r contains all of reason.
func (r WakeReason) Has(reason WakeReason) bool { return r&reason == reason }

// Init sets the runner and the transport.
func (c *Conn) Init(r Runner, t Transport) {
	c.task.runner, c.writer = r, NewWriter(t, c.Env.WriteTimeout)
}

// Start registers the connection and runs its task for the first time.
func (c *Conn) Start() {
	c.Env.Open[c.Protocol].Inc()
	c.Env.InFlight.Add()
	c.Env.Set.add(c)
	c.Env.Scheduler.reattach(&c.task, Again)
}

// Finish is the last thing that a task calls, after its reader has ended. status is the
// HTTP status that the connection began with. code is the reason for the end, if no other
// was noted; "" means that the client has left.
func (c *Conn) Finish(status int, code string) Result {
	_ = c.writer.transport.Close()
	c.Slot.Release()
	c.Env.Set.remove(c)
	if c.Recorder != nil {
		if c.Env.Cut.Err() != nil {
			code = cut
		}
		c.Recorder.EndReason(cmp.Or(code, ClientLeft))
		c.Recorder.Ended(status)
	}
	c.Env.Open[c.Protocol].Dec()
	c.Env.InFlight.Done()
	return Closed
}

// Wake makes the task run. Any goroutine may call it, also before Start.
func (c *Conn) Wake() { c.Env.Scheduler.wake(&c.task) }

// WakeFor makes the task run for a reason. Any goroutine may call it, also before Start.
func (c *Conn) WakeFor(reason WakeReason) {
	c.reasons.Or(uint32(reason))
	c.Wake()
}

// readerEnded is the value of Conn.waiting after the end of the reader.
var readerEnded = context.CancelFunc(func() {})

// EndReading notes that the reader has ended. A wait of the task ends too: the client has
// left, or is about to.
func (c *Conn) EndReading() {
	c.WakeFor(ReaderDone)
	if cancel := c.waiting.Swap(&readerEnded); cancel != nil {
		(*cancel)()
	}
}

// WaitContext returns a context for what a detached task waits for. It ends when the reader
// has ended, and with Env.Cut. The caller must call done after the wait.
func (c *Conn) WaitContext() (ctx context.Context, done func()) {
	ctx, cancel := context.WithCancel(c.Env.Cut)
	if !c.waiting.CompareAndSwap(nil, &cancel) {
		cancel()
	}
	return ctx, func() {
		c.waiting.CompareAndSwap(&cancel, nil)
		cancel()
	}
}

// TakeReasons returns why the task runs, and forgets it.
func (c *Conn) TakeReasons() WakeReason { return WakeReason(c.reasons.Swap(0)) }

// Closed reports whether the transport is closed. Then the task only waits for the reader.
func (c *Conn) Closed() bool { return c.closed }

// Transport returns the transport, for the reader.
func (c *Conn) Transport() Transport { return c.writer.transport }

// AwaitRead waits for something to read, as Writer.AwaitRead does.
func (c *Conn) AwaitRead() { c.writer.AwaitRead() }

// Detach runs f, which may wait, in a goroutine of its own, which is the task until f
// returns.
func (c *Conn) Detach(f func() Result) Result { return c.Env.Scheduler.detach(&c.task, f) }

// Panicked implements Runner. It closes the connection.
func (c *Conn) Panicked(value any) Result {
	c.Env.Problems.LogPanic(value)
	return c.HangUp(problem.ErrInternal)
}

// HangUp closes the transport, which ends the reader. err says why: the client has left,
// or was told the reason.
func (c *Conn) HangUp(err error) Result {
	c.Env.Logger.Debug("connection ends", "reason", err)
	if code := c.endReason(err); code != "" && c.Recorder != nil {
		c.Recorder.EndReason(code)
	}
	c.closed = true
	_ = c.writer.transport.Close()
	return Again
}

// endReason returns the reason that err gives for the end of a connection; "" for none.
func (c *Conn) endReason(err error) string {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, errEvicted):
		return ClientStuck
	case errors.Is(err, context.Canceled) && c.Env.Cut.Err() != nil:
		return cut
	case errors.Is(err, problem.ErrInternal), errors.Is(err, streams.ErrClosed):
		return problem.CodeOf(err)
	}
	return ""
}

// NewOutage reports whether the log does not answer for the rooms of sub, and the client
// must be told. It is true once per outage.
func (c *Conn) NewOutage(sub *service.Subscription) bool {
	id := sub.Outage()
	if id == 0 || id == c.toldOutage {
		return false
	}
	c.toldOutage = id
	return true
}

// NewFailure is NewOutage for a log that has just failed to answer, of which the node may
// not know yet.
func (c *Conn) NewFailure(sub *service.Subscription) bool {
	return c.NewOutage(sub) || sub.Outage() == 0
}
