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

const (
	// format is the layout of keys and values. A change that this program could
	// misread gets a new number.
	format = 1

	// pebbleFormat is pinned, so that a new Pebble does not make a log unreadable
	// for the version of Tidemark before it.
	pebbleFormat = pebble.FormatTableFormatV6

	cacheBytes    = 64 << 20 // blocks read; the newest events are in the memtable anyway
	memTableBytes = 32 << 20 // more means fewer flushes; two or three exist at once
	maxOpenFiles  = 512      // well under the usual limit of 1,024, which connections share
)

var (
	metaFormat  = []byte{kindMeta, 'f'} // the format, one byte
	metaFloor   = []byte{kindMeta, 'o'} // the id after which the log vouches for everything
	metaCeiling = []byte{kindMeta, 'c'} // no id beyond it has been handed out
	metaDropped = []byte{kindMeta, 'd'} // the newest id whose tail record was dropped
)

// meta is what the log knows of itself when it is opened.
type meta struct {
	floor, ceiling, dropped streams.ID
}

// A store is the Pebble database in its locked directory, and the reading of
// single values from it.
type store struct {
	// Fixed by openStore, floor by loadMeta.
	db    *pebble.DB
	lock  *pebble.Lock
	log   *slog.Logger
	floor streams.ID

	fatal atomic.Pointer[error] // set once Pebble can't go on
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

// lockDirectory tells a directory in use from one that cannot be written.
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
		// Most rooms and idempotency keys looked up are new: a filter answers
		// that without a read.
		o.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return o
}

func (s *store) close() error { return errors.Join(s.db.Close(), s.lock.Close()) }

// loadMeta reads what the log knows of itself, or founds a new log.
func (s *store) loadMeta(now time.Time) (meta, error) {
	v, found, err := s.get(metaFormat)
	switch {
	case err != nil:
		return meta{}, err
	case !found:
		return s.found(now)
	case len(v) != 1 || v[0] != format:
		return meta{}, fmt.Errorf("%w: it has format %v, this program reads %d", streams.ErrMismatch, v, format)
	}
	var m meta
	for _, e := range []struct {
		key []byte
		id  *streams.ID
	}{{metaFloor, &m.floor}, {metaCeiling, &m.ceiling}, {metaDropped, &m.dropped}} {
		v, found, err := s.get(e.key)
		if err == nil && !found {
			err = fmt.Errorf("%w: %q is not there", errCorrupt, e.key)
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

// found makes a new log, which vouches for everything from now on.
func (s *store) found(now time.Time) (meta, error) {
	if err := s.empty(); err != nil {
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
		b.Set(metaDropped, m.dropped[:], nil),
	)
	if sets != nil {
		return meta{}, sets
	}
	s.floor = m.floor
	return m, s.commit(b, pebble.Sync)
}

// empty refuses a database that has something in it, and no format: it belongs
// to another program.
func (s *store) empty() error {
	iter, err := s.db.NewIter(nil)
	if err != nil {
		return err
	}
	if iter.First() {
		err = fmt.Errorf("%w: it is a Pebble database, and not a log", streams.ErrMismatch)
	}
	return errors.Join(err, iter.Close())
}

// commit applies b. After an error b may be on the disk, or become visible,
// or neither, and the store takes no further batch.
func (s *store) commit(b *pebble.Batch, o *pebble.WriteOptions) error {
	if err := s.failed(); err != nil {
		return err
	}
	if err := s.db.Apply(b, o); err != nil {
		return err
	}
	return s.failed() // Pebble reports a failed write to its logger only
}

// failed returns why the store takes no more batches; nil while it does.
func (s *store) failed() error {
	if err := s.fatal.Load(); err != nil {
		return *err
	}
	return nil
}

// get returns a copy of the value of key.
func (s *store) get(key []byte) (value []byte, found bool, err error) {
	found, err = s.look(s.db, key, func(v []byte) error {
		value = append([]byte(nil), v...)
		return nil
	})
	return value, found, err
}

// look gives the value of key, if there is one, to decode, which must not keep it.
func (s *store) look(from pebble.Reader, key []byte, decode func([]byte) error) (found bool, err error) {
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
	found, err = s.look(from, roomKey(room), func(v []byte) error {
		r, err = decodeRoomRecord(v)
		return err
	})
	if err != nil {
		err = fmt.Errorf("record of room %q: %w", room, err)
	}
	return r, found, err
}

func (s *store) key(key []byte) (r keyRecord, found bool, err error) {
	found, err = s.look(s.db, key, func(v []byte) error {
		r, err = decodeKeyRecord(v)
		return err
	})
	return r, found, err
}

// pebbleLogger passes on what Pebble has to say.
type pebbleLogger struct{ store *store }

func (p pebbleLogger) Infof(format string, args ...any) {
	p.store.log.Debug("pebble: " + fmt.Sprintf(format, args...))
}

func (p pebbleLogger) Errorf(format string, args ...any) {
	p.store.log.Error("pebble: " + fmt.Sprintf(format, args...))
}

// Fatalf is called where Pebble can't go on, as after a failed write of its log.
// It expects the process to end. A server that can't write can still serve what
// it has, so that is only noted, and commit returns it from then on.
func (p pebbleLogger) Fatalf(format string, args ...any) {
	err := fmt.Errorf("the log has failed and must be opened again: "+format, args...)
	p.store.fatal.CompareAndSwap(nil, &err)
	p.store.log.Error("pebble: the log has failed", "error", err)
}
