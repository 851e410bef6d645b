package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidemark/tidemark/streams"
)

const (
	// appendWait bounds one Append, in case the disk does not answer.
	appendWait = 10 * time.Second

	// maxQueued bounds the appends in the writer's queue. More appends wait in Append,
	// each within its own time limit. maxQueuedBytes bounds the memory of all of them.
	maxQueued      = 1024
	maxQueuedBytes = 64 << 20

	// draftBytes is the memory of a waiting draft, without its texts and its data.
	draftBytes = 256

	defaultSweepEvery = time.Second
)

// errFull reports that too many appends wait. Nothing of the append was stored.
var errFull = fmt.Errorf("%w: too many appends are waiting for the disk; retry later", streams.ErrUnavailable)

// Options configures a Log. The zero value of each field means its default.
type Options struct {
	KeyLife  time.Duration // how long idempotency keys are remembered; 0 means streams.DefaultKeyLife
	TailLife time.Duration // how long a tail record outlives its room's events; 0 means streams.DefaultTailLife

	SweepEvery time.Duration    // how often expired data is removed; 0 means 1 s
	Now        func() time.Time // the clock of ids and expiry; nil means time.Now
	Logger     *slog.Logger     // nil means none
}

func (o Options) withDefaults() Options {
	if o.KeyLife == 0 {
		o.KeyLife = streams.DefaultKeyLife
	}
	if o.TailLife == 0 {
		o.TailLife = streams.DefaultTailLife
	}
	if o.SweepEvery == 0 {
		o.SweepEvery = defaultSweepEvery
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// A Log is a streams.Log in a directory. It is safe for concurrent use. Close it when done.
type Log struct {
	// Fixed by Open.
	options Options
	store   *store
	feeds   *hub
	writer  *writer
	queue   chan *request // to the writer
	done    chan struct{} // closed by Close to stop the writer
	stopped chan struct{} // closed by the writer when it has stopped

	// Set by the writer, read by all goroutines.
	durable          atomic.Pointer[streams.ID] // newest assigned id; events at or before it are on the disk
	unrecordedBefore atomic.Pointer[streams.ID] // newest id of all deleted tail records

	queued atomic.Int64 // bytes of the appends that the writer has not answered

	closing  sync.Once
	closeErr error // of the first Close

	mu     sync.RWMutex // guards closed; reads hold it shared, so that Close waits for them
	closed bool
}

var _ streams.Log = (*Log)(nil)

// Open opens the log in dir. It creates dir and a new log if necessary. Errors: ErrLocked;
// streams.ErrMismatch if dir holds a log of another format or another program's database;
// and those of the file system.
func Open(dir string, o Options) (*Log, error) { return open(dir, o, vfs.Default) }

func open(dir string, o Options, fs vfs.FS) (*Log, error) {
	o = o.withDefaults()
	s, err := openStore(dir, fs, o.Logger)
	if err != nil {
		return nil, fmt.Errorf("open log %q: %w", dir, err)
	}
	m, err := s.loadMeta(o.Now())
	if err != nil {
		return nil, fmt.Errorf("open log %q: %w", dir, errors.Join(err, s.close()))
	}
	l := &Log{
		options: o,
		store:   s,
		feeds:   newHub(),
		queue:   make(chan *request, maxQueued),
		done:    make(chan struct{}),
		stopped: make(chan struct{}),
	}
	l.durable.Store(&m.ceiling)
	l.unrecordedBefore.Store(&m.unrecordedBefore)
	l.writer = newWriter(l, m.ceiling)
	go l.writer.run()
	return l, nil
}

// Close waits for reads and for the write under way, answers waiting appends with
// ErrClosed, closes all feeds, and unlocks the directory. Closing again does nothing and
// returns the same error.
func (l *Log) Close() error {
	l.closing.Do(func() {
		l.mu.Lock() // waits for reads
		l.closed = true
		l.mu.Unlock()
		close(l.done)
		<-l.stopped
		l.feeds.close()
		l.closeErr = l.store.close()
	})
	return l.closeErr
}

// beginRead keeps the log open until the caller calls end.
func (l *Log) beginRead(ctx context.Context) (end func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, contextError(ctx)
	}
	l.mu.RLock()
	if l.closed {
		l.mu.RUnlock()
		return nil, streams.ErrClosed
	}
	return l.mu.RUnlock, nil
}

// contextError returns the error of a call whose context has ended.
func contextError(ctx context.Context) error {
	return fmt.Errorf("%w: %w", streams.ErrUnavailable, context.Cause(ctx))
}

// Partitions returns 1.
func (l *Log) Partitions() int { return 1 }

// Feed implements streams.Feed for the log's only partition. It ignores its argument.
func (l *Log) Feed(streams.Partition) streams.Feed { return l.feeds.open() }

// Ping returns nil if the log is open and accepts events.
func (l *Log) Ping(ctx context.Context) error {
	endRead, err := l.beginRead(ctx)
	if err != nil {
		return err
	}
	defer endRead()
	if err := l.store.failed(); err != nil {
		return fmt.Errorf("%w: %w", streams.ErrUnavailable, err)
	}
	return nil
}

// A request is one Append in the writer's queue.
type request struct {
	drafts       []streams.Draft
	fingerprints [][16]byte // by draft, for drafts with a key; nil without any
	bytes        int        // of memory that the drafts hold

	// Owned by the writer until it answers.
	receipts []streams.Receipt
	answered chan struct{} // closed when receipts are complete
}

// newRequest does the work of an Append that does not need the writer, because the writer
// is shared. It copies the drafts: after a timeout Append returns, and its caller may
// change the drafts before the writer reads them.
func newRequest(drafts []streams.Draft) *request {
	r := &request{
		drafts:   append([]streams.Draft(nil), drafts...),
		receipts: make([]streams.Receipt, len(drafts)),
		answered: make(chan struct{}),
	}
	for i := range drafts {
		d := &drafts[i]
		r.bytes += draftBytes + len(d.Data) + len(d.Room) + len(d.Type) + len(d.Key)
		if d.Key == "" {
			continue
		}
		if r.fingerprints == nil {
			r.fingerprints = make([][16]byte, len(drafts))
		}
		r.fingerprints[i] = d.Fingerprint()
	}
	return r
}

// Append implements streams.Log.
func (l *Log) Append(ctx context.Context, drafts []streams.Draft) []streams.Receipt {
	if len(drafts) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, appendWait)
	defer cancel()
	if ctx.Err() != nil {
		return failAll(len(drafts), contextError(ctx))
	}
	r := newRequest(drafts)
	if !l.reserve(r) {
		return failAll(len(drafts), errFull)
	}
	select {
	case l.queue <- r:
	case <-l.done:
		l.release(r)
		return failAll(len(drafts), streams.ErrClosed)
	case <-ctx.Done():
		l.release(r)
		return failAll(len(drafts), contextError(ctx))
	}
	select {
	case <-r.answered:
		return r.receipts
	case <-ctx.Done():
		return failAll(len(drafts), contextError(ctx))
	case <-l.stopped:
		return receiptsAfterStop(r)
	}
}

// reserve counts the bytes of r, unless those of other appends leave no room for them. An
// append that alone exceeds the bound is accepted if no other waits. The writer releases the
// bytes of each request in its queue, because it holds them even if the caller gives up.
func (l *Log) reserve(r *request) bool {
	if all := l.queued.Add(int64(r.bytes)); all > maxQueuedBytes && all > int64(r.bytes) {
		l.release(r)
		return false
	}
	return true
}

func (l *Log) release(r *request) { l.queued.Add(-int64(r.bytes)) }

// receiptsAfterStop returns the receipts of r after the writer has stopped. If the writer
// did not answer r, r reached the queue too late and was not stored.
func receiptsAfterStop(r *request) []streams.Receipt {
	select {
	case <-r.answered:
		return r.receipts
	default:
		return failAll(len(r.drafts), streams.ErrClosed)
	}
}

// failAll returns n receipts with the error err.
func failAll(n int, err error) []streams.Receipt {
	receipts := make([]streams.Receipt, n)
	for i := range receipts {
		receipts[i].Err = err
	}
	return receipts
}
