package conn

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/tidemark/tidemark/replay"
)

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

// writeUnsent writes b as Writer.Write does. While the client does not take it, the
// connection holds a share of Env.Unsent for b and for the data that the task holds. If the
// pool takes the share away, the connection ends with errEvicted.
func (c *Conn) writeUnsent(b []byte) error {
	var evicted atomic.Bool
	share := c.Env.Unsent.Hold(int64(cap(b)+c.task.runner.Held()), func() {
		evicted.Store(true)
		_ = c.writer.transport.Close() // ends the write
	})
	defer share.Release()
	shed := make(chan struct{})
	timer := time.AfterFunc(shedAfter, func() {
		defer close(shed)
		c.shed()
	})
	err := c.writer.Write(b)
	if !timer.Stop() {
		<-shed // the task must not run at the same time
	}
	if err != nil && evicted.Load() {
		return errEvicted
	}
	return err
}

// shed lets the runner drop what it can. A panic closes this connection alone.
func (c *Conn) shed() {
	defer func() {
		if p := recover(); p != nil {
			c.Env.Problems.LogPanic(p)
			_ = c.writer.transport.Close()
		}
	}()
	c.task.runner.Shed()
}
