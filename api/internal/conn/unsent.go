package conn

import (
	"errors"
	"math"
	"sync"
	"time"

	"github.com/tidemark/tidemark/limits"
	"github.com/tidemark/tidemark/replay"
)

// countAfter is how long a write may take before its data counts as unsent. Most writes end
// earlier, also those that wait for the processor and not for their client. Within this time
// a node cannot encode much.
const countAfter = 100 * time.Millisecond

// shedAfter is how long a client may leave a write untaken before the node drops the data
// that it has read ahead for the client. A client that stalls for longer than a second is
// far behind anyway, and reading the data again costs one read of the log.
const shedAfter = time.Second

// errEvicted ends a connection whose unsent data the node could not keep.
var errEvicted = errors.New("the client did not read while memory was short")

// DataSize returns the size of the data of items, in bytes.
func DataSize(items []replay.Item) int {
	n := 0
	for _, it := range items {
		if it.Event != nil {
			n += len(it.Event.Data)
		}
	}
	return n
}

// An unsentWrite watches a blocking write: it counts the unsent data after countAfter, and
// sheds after shedAfter. Writes use it in turns, so that a write over TLS or HTTP/2 that the
// client takes at once costs no allocation and no lock that connections share.
type unsentWrite struct {
	timer      *time.Timer
	progressed func() // progress; stored because a new method value costs an allocation

	mu      sync.Mutex // guards the fields below, and keeps the task waiting while fire works
	conn    *Conn      // nil between two writes
	size    int        // memory of the bytes to write
	share   *limits.MemoryShare
	counted bool
}

func newUnsentWrite() *unsentWrite {
	u := new(unsentWrite)
	u.timer = time.AfterFunc(math.MaxInt64, u.fire)
	u.timer.Stop()
	u.progressed = u.progress
	return u
}

// begin starts to watch a write of c.
func (u *unsentWrite) begin(c *Conn, size int) {
	u.mu.Lock()
	u.conn, u.size = c, size
	u.mu.Unlock()
	u.timer.Reset(countAfter)
}

// fire is called by the timer. A call that is late counts the next write early, which does
// no harm.
func (u *unsentWrite) fire() {
	u.mu.Lock()
	defer u.mu.Unlock()
	switch c := u.conn; {
	case c == nil:
	case u.counted:
		c.shed()
	default:
		u.counted = true
		u.timer.Reset(shedAfter - countAfter)
		u.share = c.Env.Unsent.Hold(int64(u.size+c.task.runner.Held()), c.evict)
	}
}

// progress notes that the client has taken a piece: others without progress lose their data
// first.
func (u *unsentWrite) progress() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.share.Grow(0)
}

// end ends the watch.
func (u *unsentWrite) end() {
	u.timer.Stop()
	u.mu.Lock()
	defer u.mu.Unlock()
	u.share.Release()
	u.conn, u.share, u.counted = nil, nil, false
}

// writeUnsent writes b as Writer.Write does. While the client does not take it, the
// connection holds a share of Env.Unsent for b and for the data that the task holds. If the
// pool takes the share away, the connection ends with errEvicted.
func (c *Conn) writeUnsent(b []byte) error {
	u, _ := c.Env.unsentWrites.Get().(*unsentWrite)
	if u == nil {
		u = newUnsentWrite()
	}
	defer c.Env.unsentWrites.Put(u)
	u.begin(c, cap(b))
	defer u.end()
	err := c.writer.Write(b, u.progressed)
	if err != nil && c.evicted.Load() {
		return errEvicted
	}
	return err
}

// evict ends the write and the connection. The pool may call it a moment after the write.
func (c *Conn) evict() {
	c.evicted.Store(true)
	_ = c.writer.transport.Close()
}

// shed calls the runner's Shed. A panic closes this connection and no other.
func (c *Conn) shed() {
	defer func() {
		if p := recover(); p != nil {
			c.Env.Problems.LogPanic(p)
			_ = c.writer.transport.Close()
		}
	}()
	c.task.runner.Shed()
}
