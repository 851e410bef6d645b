package fault_test

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/tests/redistest"
)

// standalone is one Redis, with an append-only file.
type standalone struct {
	server *redistest.Server
	direct *redis.Client
	fsync  string
}

var _ deployment = (*standalone)(nil)

// newStandalone starts a Redis that syncs its file as fsync says: always, everysec, or never
// for a Redis without a file. With everysec Redis may answer before it has written, so that
// a kill may cost events.
func newStandalone(t *testing.T, fsync string) *standalone { return startStandalone(t, fsync, false) }

// newSteppable is newStandalone for a Redis whose clock can be stepped.
func newSteppable(t *testing.T) *standalone { return startStandalone(t, "always", true) }

func startStandalone(t *testing.T, fsync string, clock bool) *standalone {
	t.Helper()
	args := []string{"--appendonly", "yes", "--appendfsync", fsync}
	if fsync == "never" {
		args = nil
	}
	s := redistest.StartWith(t, redistest.Options{Args: args, Clock: clock})
	return &standalone{server: s, direct: s.Client(), fsync: fsync}
}

func (s *standalone) topology() string        { return "standalone" }
func (s *standalone) keepsAcknowledged() bool { return s.fsync == "always" }
func (s *standalone) partitions() int         { return 1 }

// takeSeen implements deployment. Every event of a single Redis is known to a publisher or a
// client, unless a fault certainly lost it.
func (s *standalone) takeSeen(*room) map[streams.ID]bool { return nil }

func (s *standalone) reach(t *testing.T) ([]string, *link) {
	l := newLink(t, s.server.Addr())
	return []string{"--redis=redis://" + l.addr}, l
}

func (s *standalone) read(ctx context.Context, r *room, after streams.ID) ([]entry, error) {
	return readStream(ctx, s.direct, r, after)
}
