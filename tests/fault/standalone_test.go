package fault_test

import (
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/tests/redistest"
)

// standalone is one Redis, with an append-only file.
type standalone struct {
	server *redistest.Server
	direct *redis.Client
	fsync  string
}

var _ deployment = (*standalone)(nil)

// newStandalone starts a Redis that syncs its file as fsync says: always, everysec.
// With everysec it answers before it has written while a sync takes long, so that
// being killed may cost it events.
func newStandalone(t *testing.T, fsync string) *standalone {
	t.Helper()
	s := redistest.StartProcess(t, "--appendonly", "yes", "--appendfsync", fsync,
		"--maxmemory-policy", "noeviction")
	return &standalone{server: s, direct: s.Client(), fsync: fsync}
}

func (s *standalone) shape() string                 { return "standalone" }
func (s *standalone) keepsAcknowledged() bool       { return s.fsync == "always" }
func (s *standalone) flags() []string               { return nil }
func (s *standalone) partitions() int               { return 1 }
func (s *standalone) client() redis.UniversalClient { return s.direct }

func (s *standalone) reach(t *testing.T) (string, *line) {
	l := newLine(t, s.server.Addr())
	return "redis://" + l.addr, l
}
