package redislog

import (
	"context"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/singleflight"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/redislog/internal/entry"
	"github.com/tidemark/tidemark/streams/redislog/internal/keys"
)

// A partition is what this process knows of one partition of the log.
type partition struct {
	keys.Partition // fixed

	checks   singleflight.Group                // shares one run of store.check
	checked  atomic.Bool                       // the partition can be used and its clock fits
	canFsync atomic.Bool                       // its Redis supports waiting for the disk
	probe    atomic.Pointer[streams.FeedProbe] // the latest; nil before the first
	reads    chan struct{}                     // holds a token for each read of events that is running
	largest  atomic.Int64                      // bytes of data of the largest event that was read, at least streams.DefaultMaxData

	mu     sync.Mutex // guards the fields below
	known  []knownEvent
	newest streams.ID // the newest id that this process has seen or handed out
}

// maxReads bounds the reads of events that run at once. Redis serves one command after
// another, and a publish waits for all that arrived before it. With any number of reads, 24
// replays of large events delayed one publish in a hundred by 100 ms and more.
const maxReads = 4

// beginRead waits until the partition may read events. The caller must call the function
// that it returns.
func (p *partition) beginRead(ctx context.Context) (end func(), err error) {
	select {
	case p.reads <- struct{}{}:
		return func() { <-p.reads }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func newPartition(k keys.Partition) *partition {
	p := &partition{Partition: k, reads: make(chan struct{}, maxReads)}
	p.largest.Store(streams.DefaultMaxData)
	return p
}

// sawSize records the size of an event's data. Nodes may allow more than
// streams.DefaultMaxData.
func (p *partition) sawSize(size int) {
	for n := p.largest.Load(); n < int64(size) && !p.largest.CompareAndSwap(n, int64(size)); n = p.largest.Load() {
	}
}

// lossKeys returns the keys that every script with a loss check begins with.
func (p *partition) lossKeys(known []knownEvent) []string {
	all := make([]string, 0, 1+2*len(known))
	all = append(all, p.Clock())
	for _, k := range known {
		all = append(all, p.Stream(k.room), p.Tail(k.room))
	}
	return all
}

// lossArgs returns the arguments that every script with a loss check begins with.
// partitions is their number in the log.
func (p *partition) lossArgs(partitions int, known []knownEvent) []any {
	args := make([]any, 0, 3+len(known))
	args = append(args, partitions, entry.Position(p.newestID()), len(known))
	for _, k := range known {
		args = append(args, entry.Position(k.id))
	}
	return args
}
