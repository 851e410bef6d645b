package embedded

import (
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/tidemark/tidemark/streams"
)

// MarkRestored tells the log in dir that it was brought back from a copy: from then on it
// vouches for nothing before this moment, so that every cursor from before gets a gap
// notice. No process may have the log open. Where there is none it makes none.
func MarkRestored(dir string, o Options) error {
	o = o.withDefaults()
	there, err := pebble.Peek(dir, vfs.Default)
	if err != nil {
		return fmt.Errorf("open log %q: %w", dir, err)
	}
	if !there.Exists {
		return fmt.Errorf("there is no log in %q", dir)
	}
	s, err := openStore(dir, vfs.Default, o.Logger)
	if err != nil {
		return fmt.Errorf("open log %q: %w", dir, err)
	}
	return errors.Join(s.raiseFloor(o.Now()), s.close())
}

// raiseFloor has the log vouch for nothing before now, nor before any id that it has
// handed out.
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
