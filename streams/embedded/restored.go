package embedded

import (
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidemark/tidemark/streams"
)

// MarkRestored records that the log in dir was restored from a backup, which may lack the
// newest events. It raises the floor to the current time, so that every older cursor gets
// a gap notice. No process may have the log open. MarkRestored does not create a log.
// Errors: ErrLocked, streams.ErrMismatch, and those of the file system.
func MarkRestored(dir string, o Options) error {
	o = o.withDefaults()
	database, err := pebble.Peek(dir, vfs.Default)
	if err != nil {
		return fmt.Errorf("open log %q: %w", dir, err)
	}
	if !database.Exists {
		return fmt.Errorf("there is no log in %q", dir)
	}
	s, err := openStore(dir, vfs.Default, o.Logger)
	if err != nil {
		return fmt.Errorf("open log %q: %w", dir, err)
	}
	return errors.Join(s.raiseFloor(o.Now()), s.close())
}

// raiseFloor raises the floor to now, and above every id that the log has assigned.
func (s *store) raiseFloor(now time.Time) error {
	m, err := s.loadMeta(now)
	if err != nil {
		return err
	}
	floor := streams.Later(streams.IDAt(now, 0), streams.IDAt(m.ceiling.Time().Add(time.Millisecond), 0))
	b := s.db.NewBatch()
	defer b.Close()
	if err := errors.Join(b.Set(metaFloor, floor[:], nil), b.Set(metaCeiling, floor[:], nil)); err != nil {
		return err
	}
	return s.commit(b, pebble.Sync)
}
