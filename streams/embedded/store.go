package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidemark/tidemark/streams"
)

// ErrLocked reports that another process, or another Log of this process, uses the
// directory. The text names the directory.
var ErrLocked = errors.New("the log's directory is in use by another process")

const (
	// format is the version of the layout of keys and values. A change that an older
	// program could misread gets a new number.
	format = 1

	// pebbleFormat is fixed, so that an older version of Tidemark can still open a log
	// that a newer Pebble has used.
	pebbleFormat = pebble.FormatTableFormatV6

	cacheBytes    = 64 << 20 // of blocks read from files; the newest events are in the memtable
	memTableBytes = 32 << 20 // larger means fewer flushes; two or three exist at a time
	maxOpenFiles  = 512      // well below the usual limit of 1,024, which connections share
)

var (
	metaFormat           = []byte{kindMeta, 'f'} // the format, one byte
	metaFloor            = []byte{kindMeta, 'o'} // the position after which the log is complete
	metaCeiling          = []byte{kindMeta, 'c'} // every assigned id is at or before it
	metaUnrecordedBefore = []byte{kindMeta, 'd'} // the newest id of all deleted tail records
)

// meta is the metadata of a log: the values of the keys above.
type meta struct {
	floor, ceiling, unrecordedBefore streams.ID
}

// A store is a Pebble database in a locked directory. It reads single values and commits
// batches.
type store struct {
	// Fixed by openStore, floor by loadMeta.
	db    *pebble.DB
	lock  *pebble.Lock
	log   *slog.Logger
	floor streams.ID

	fatal atomic.Pointer[error] // set when Pebble has failed for good
}

func openStore(dir string, fs vfs.FS, log *slog.Logger) (*store, error) {
	if err := fs.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	lock, err := lockDirectory(dir, fs)
	if err != nil {
		return nil, err
	}
	s := &store{lock: lock, log: log}
	if s.db, err = pebble.Open(dir, s.pebbleOptions(fs)); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return s, nil
}

// lockDirectory locks dir. It returns ErrLocked if dir is in use, and other errors if it
// cannot be written.
func lockDirectory(dir string, filesystem vfs.FS) (*pebble.Lock, error) {
	lock, err := pebble.LockDirectory(dir, filesystem)
	if err == nil {
		return lock, nil
	}
	if file := (*fs.PathError)(nil); errors.As(err, &file) {
		return nil, err
	}
	return nil, fmt.Errorf("%w: %s: %w", ErrLocked, dir, err)
}

func (s *store) pebbleOptions(fs vfs.FS) *pebble.Options {
	logger := pebbleLogger{s}
	events := pebble.MakeLoggingEventListener(logger)
	o := &pebble.Options{
		FS:                 fs,
		Lock:               s.lock,
		FormatMajorVersion: pebbleFormat,
		CacheSize:          cacheBytes,
		MemTableSize:       memTableBytes,
		MaxOpenFiles:       maxOpenFiles,
		Logger:             logger,
		EventListener:      &events,
	}
	for i := range o.Levels {
		// Most lookups are for new rooms and new idempotency keys. A Bloom filter
		// answers these without a read.
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return o
}

func (s *store) close() error { return errors.Join(s.db.Close(), s.lock.Close()) }

// loadMeta reads the metadata of the log, or creates a log in an empty database.
func (s *store) loadMeta(now time.Time) (meta, error) {
	v, found, err := s.get(metaFormat)
	switch {
	case err != nil:
		return meta{}, err
	case !found:
		return s.create(now)
	case len(v) != 1 || v[0] != format:
		return meta{}, fmt.Errorf("%w: its format is %v, and this version of Tidemark reads format %d", streams.ErrMismatch, v, format)
	}
	var m meta
	for _, e := range []struct {
		key []byte
		id  *streams.ID
	}{{metaFloor, &m.floor}, {metaCeiling, &m.ceiling}, {metaUnrecordedBefore, &m.unrecordedBefore}} {
		v, found, err := s.get(e.key)
		if err == nil && !found {
			err = fmt.Errorf("%w: the key %q is missing", errCorrupt, e.key)
		}
		if err == nil {
			*e.id, err = decodeID(v)
		}
		if err != nil {
			return meta{}, err
		}
	}
	s.floor = m.floor
	return m, nil
}

// create writes the metadata of a new log, which is complete after now.
func (s *store) create(now time.Time) (meta, error) {
	if err := s.checkEmpty(); err != nil {
		return meta{}, err
	}
	floor := streams.IDAt(now, 0)
	m := meta{floor: floor, ceiling: floor}
	b := s.db.NewBatch()
	defer b.Close()
	sets := errors.Join(
		b.Set(metaFormat, []byte{format}, nil),
		b.Set(metaFloor, m.floor[:], nil),
		b.Set(metaCeiling, m.ceiling[:], nil),
		b.Set(metaUnrecordedBefore, m.unrecordedBefore[:], nil),
	)
	if sets != nil {
		return meta{}, sets
	}
	s.floor = m.floor
	return m, s.commit(b, pebble.Sync)
}

// checkEmpty returns an error if the database contains keys. Without a format, they belong
// to another program.
func (s *store) checkEmpty() error {
	iter, err := s.db.NewIter(nil)
	if err != nil {
		return err
	}
	if iter.First() {
		err = fmt.Errorf("%w: the directory holds another program's Pebble database: choose another directory", streams.ErrMismatch)
	}
	return errors.Join(err, iter.Close())
}

// commit applies b. After an error, b may or may not be on the disk and visible to readers,
// and the store accepts no more batches.
func (s *store) commit(b *pebble.Batch, o *pebble.WriteOptions) error {
	if err := s.failed(); err != nil {
		return err
	}
	if err := s.db.Apply(b, o); err != nil {
		return err
	}
	return s.failed() // Pebble reports a failed write only to its logger
}

// must panics on an error of adding to a batch. That cannot occur, because a batch without
// an index is only memory.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// failed returns the error after which the store accepts no more batches, or nil.
func (s *store) failed() error {
	if err := s.fatal.Load(); err != nil {
		return *err
	}
	return nil
}

// get returns a copy of the value of key.
func (s *store) get(key []byte) (value []byte, found bool, err error) {
	found, err = s.read(s.db, key, func(v []byte) error {
		value = append([]byte(nil), v...)
		return nil
	})
	return value, found, err
}

// read passes the value of key, if the key exists, to decode. decode must not keep it.
func (s *store) read(from pebble.Reader, key []byte, decode func([]byte) error) (found bool, err error) {
	v, release, err := from.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, errors.Join(decode(v), release.Close())
}

func (s *store) room(from pebble.Reader, room streams.Room) (r roomRecord, found bool, err error) {
	found, err = s.read(from, roomKey(room), func(v []byte) error {
		r, err = decodeRoomRecord(v)
		return err
	})
	if err != nil {
		err = fmt.Errorf("record of room %q: %w", room, err)
	}
	return r, found, err
}

func (s *store) key(key []byte) (r keyRecord, found bool, err error) {
	found, err = s.read(s.db, key, func(v []byte) error {
		r, err = decodeKeyRecord(v)
		return err
	})
	return r, found, err
}

// pebbleLogger passes Pebble's log to the store's logger.
type pebbleLogger struct{ store *store }

func (p pebbleLogger) Infof(format string, args ...any) {
	p.store.log.Debug("pebble: " + fmt.Sprintf(format, args...))
}

func (p pebbleLogger) Errorf(format string, args ...any) {
	p.store.log.Error("pebble: " + fmt.Sprintf(format, args...))
}

// Fatalf is called when Pebble has failed for good, for example after a failed write of its
// write-ahead log. Pebble expects the process to exit. But a server that cannot write can
// still serve reads, so Fatalf records the error, and commit returns it.
func (p pebbleLogger) Fatalf(format string, args ...any) {
	err := fmt.Errorf("the log has failed; free disk space or repair the disk, then restart: "+format, args...)
	p.store.fatal.CompareAndSwap(nil, &err)
	p.store.log.Error("pebble: the log has failed", "error", err)
}
