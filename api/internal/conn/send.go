package conn

import (
	"bytes"
	"errors"

	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/service"
)

// MaxWrite bounds the bytes that are encoded before a write, except that the last event may
// exceed it. It is the memory that a slow client costs while it catches up.
const MaxWrite = 256 << 10

// errSaid ends a connection whose client was told the reason.
var errSaid = errors.New("the client was told to leave")

// AppendItems encodes items of batch with encode and appends them to b, up to MaxWrite, and
// counts them in stats. The rest stays in batch.
func AppendItems(b []byte, batch *service.Batch, stats *WriteStats, encode func([]byte, replay.Item) []byte) []byte {
	items := batch.Items
	for len(items) > 0 && len(b) < MaxWrite {
		b = encode(b, items[0])
		if e := items[0].Event; e != nil {
			stats.Add(e, batch.Live)
		}
		items = items[1:]
	}
	if batch.Items = items; len(items) == 0 {
		batch.Items = nil // an idle connection holds no events
	} else {
		batch.More = true // wake-ups until these are written are lost
	}
	return b
}

// Send writes b, without waiting if the system accepts all of it. w.Stats describe b. The
// result after the write is next; Closed means to hang up. If the client is slow, Send
// copies the rest of b and detaches.
func (c *Conn) Send(w *Worker, b []byte, next Result) Result {
	stats := w.Stats
	c.record(len(b), stats)
	n, err := c.writer.Offer(b)
	if err == nil && n < len(b) {
		rest := bytes.Clone(b[n:]) // b is the worker's
		return c.Detach(func() Result { return c.write(rest, stats, next) })
	}
	return c.wrote(&w.counters, stats, err, next)
}

// SendBlocking is Send for a detached task. b carries no event.
func (c *Conn) SendBlocking(b []byte, next Result) Result {
	c.record(len(b), WriteStats{})
	return c.write(b, WriteStats{}, next)
}

func (c *Conn) record(bytes int, stats WriteStats) {
	if c.Recorder != nil {
		c.Recorder.Wrote(bytes, stats.events)
	}
}

// write waits for the client to take b.
func (c *Conn) write(b []byte, stats WriteStats, next Result) Result {
	var n counters
	defer c.Env.Scheduler.deliveries.take(&n)
	return c.wrote(&n, stats, c.writeUnsent(b), next)
}

// wrote counts a write that ended with err and returns the task's result.
func (c *Conn) wrote(n *counters, stats WriteStats, err error, next Result) Result {
	if err != nil {
		n.fail(c.Protocol, stats)
		return c.HangUp(err)
	}
	n.write(c.Protocol, stats)
	if next == Closed {
		return c.HangUp(errSaid)
	}
	return next
}
