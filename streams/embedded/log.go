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

// ErrLocked reports a directory that another process (or another Log of this
// one) has open. The text names it.
var ErrLocked = errors.New("the log's directory is in use by another process")

const (
	// appendWait bounds one Append, for a disk that has stopped answering.
	appendWait = 10 * time.Second

	// maxQueued bounds the appends that wait for the writer. More wait in
	// Append itself, each within its own time limit.
	maxQueued = 1024

	defaultSweepEvery = time.Second
)

// Options tunes a Log. The zero value means the defaults.
type Options struct {
	KeyLife  time.Duration // how long idempotency keys are known; 0 means streams.DefaultKeyLife
	TailLife time.Duration // how long a tail record outlives its room's events; 0 means streams.DefaultTailLife

	SweepEvery time.Duration    // how often expired things are removed; 0 means a second
	Now        func() time.Time // nil means time.Now
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

// A Log is a streams.Log in a directory. Close it when done.
type Log struct {
	// Fixed by Open.
	options Options
	store   *store
	feeds   *hub
	writer  *writer
	queue   chan *request // to the writer
	done    chan struct{} // closed by Close: the writer shall stop
	stopped chan struct{} // closed by the writer: it has

	// Set by the writer, read by all.
	durable atomic.Pointer[streams.ID] // the newest id handed out; all at or before it is on the disk
	dropped atomic.Pointer[streams.ID] // the newest id whose tail record was dropped: the horizon

	closing  sync.Once
	closeErr error // of the first Close

	mu     sync.RWMutex // held shared by every read, so that Close waits for it; guards closed
	closed bool
}

var _ streams.Log = (*Log)(nil)

// Open opens the log in dir, which is made if it does not exist. Errors:
// ErrLocked, streams.ErrMismatch where dir holds something that is not a log of
// this format, and those of the file system.
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
	l.dropped.Store(&m.dropped)
	l.writer = newWriter(l, m.ceiling)
	go l.writer.run()
	return l, nil
}

// Close ends the feeds, lets what is being written finish, answers waiting
// appends with ErrClosed, and releases the directory. Closing again does nothing.
func (l *Log) Close() error {
	l.closing.Do(func() {
		l.mu.Lock() // once no read is left
		l.closed = true
		l.mu.Unlock()
		close(l.done)
		<-l.stopped
		l.feeds.close()
		l.closeErr = l.store.close()
	})
	return l.closeErr
}

// enter admits a read, which must call leave in the end.
func (l *Log) enter(ctx context.Context) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, over(ctx)
	}
	l.mu.RLock()
	if l.closed {
		l.mu.RUnlock()
		return nil, streams.ErrClosed
	}
	return l.mu.RUnlock, nil
}

// over is the error of a call whose context has ended.
func over(ctx context.Context) error {
	return fmt.Errorf("%w: %w", streams.ErrUnavailable, context.Cause(ctx))
}

// Partitions returns 1.
func (l *Log) Partitions() int { return 1 }

// Feed opens a live side of the log; there is one partition, whatever p says.
func (l *Log) Feed(streams.Partition) streams.Feed { return l.feeds.open() }

// Ping reports whether the log is open and has not failed.
func (l *Log) Ping(ctx context.Context) error {
	leave, err := l.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if err := l.store.failed(); err != nil {
		return fmt.Errorf("%w: %w", streams.ErrUnavailable, err)
	}
	return nil
}

// A request is one Append on its way to the writer.
type request struct {
	drafts []streams.Draft
	prints [][16]byte // of the drafts with a key, in their place
	bytes  int        // of data

	// Owned by the writer until it answers.
	receipts []streams.Receipt
	answered chan struct{} // closed with receipts complete
}

// newRequest does what can be done outside the writer, which all appends share.
// The drafts are copied, for an Append that gave up waiting returns them to its
// caller while the writer may still come to them.
func newRequest(drafts []streams.Draft) *request {
	r := &request{
		drafts:   append([]streams.Draft(nil), drafts...),
		receipts: make([]streams.Receipt, len(drafts)),
		answered: make(chan struct{}),
	}
	for i := range drafts {
		r.bytes += len(drafts[i].Data)
		if drafts[i].Key == "" {
			continue
		}
		if r.prints == nil {
			r.prints = make([][16]byte, len(drafts))
		}
		r.prints[i] = drafts[i].Fingerprint()
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
		return failed(len(drafts), over(ctx))
	}
	r := newRequest(drafts)
	select {
	case l.queue <- r:
	case <-l.done:
		return failed(len(drafts), streams.ErrClosed)
	case <-ctx.Done():
		return failed(len(drafts), over(ctx))
	}
	select {
	case <-r.answered:
		return r.receipts
	case <-ctx.Done():
		return failed(len(drafts), over(ctx))
	case <-l.stopped:
		return l.leftBehind(r)
	}
}

// leftBehind is the answer to r when the writer has stopped: the writer's own if
// it gave one. If not, r slipped into the queue behind its back and was not stored.
func (l *Log) leftBehind(r *request) []streams.Receipt {
	select {
	case <-r.answered:
		return r.receipts
	default:
		return failed(len(r.drafts), streams.ErrClosed)
	}
}

// failed is n receipts that say err.
func failed(n int, err error) []streams.Receipt {
	receipts := make([]streams.Receipt, n)
	for i := range receipts {
		receipts[i].Err = err
	}
	return receipts
}
