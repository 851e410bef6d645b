package redistest

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/tidemark/tidemark/tests/require"
)

// StartWith starts a redis-server process, which ends with the test.
func StartWith(t testing.TB, opt Options) *Server {
	t.Helper()
	return startWith(t, opt, nil)
}

func startWith(t testing.TB, opt Options, conf confFunc) *Server {
	t.Helper()
	skipShort(t)
	if err := processWorks(); err != nil {
		if choose().err == nil {
			require.Program(t, program) // a container serves the other tests
		}
		t.Fatal(err)
	}
	if opt.Clock {
		require.Program(t, "faketime")
	}
	if opt.Newer {
		if _, err := newerProgram(); err != nil {
			require.Unmet(t, "Redis 7.2 or later", "scripts/newer-redis, or install one on the PATH")
		}
	}
	b, err := startProcess(opt, conf)
	if err != nil {
		t.Fatalf("start Redis: %v", err)
	}
	return newServer(t, b)
}

// StartWithClock is StartWith for a server whose clock StepClock moves.
func StartWithClock(t testing.TB, args ...string) *Server {
	t.Helper()
	return StartWith(t, Options{Args: args, Clock: true})
}

// StartNewer starts a server of Redis 7.2 or later.
func StartNewer(t testing.TB, args ...string) *Server {
	t.Helper()
	return StartWith(t, Options{Args: args, Newer: true})
}

// StartReplica starts a replica of primary, of the same kind, and returns when it has all
// data of primary.
func StartReplica(t testing.TB, primary *Server, args ...string) *Server {
	t.Helper()
	p, ok := primary.b.(*processServer)
	if !ok {
		t.Fatalf("replica of %s: %v", primary.Addr(), errContainer)
	}
	opt := p.opt
	opt.Args = append(replicaOf(primary), args...)
	s := StartWith(t, opt)
	if err := until(t.Context(), s.linked); err != nil {
		t.Fatalf("replica of %s: %v", primary.Addr(), err)
	}
	return s
}

// Detach disconnects a replica from its primary: it runs and answers with its present data,
// and receives no more until Attach. A replica that is only paused would read the data in
// its sockets once it continues.
func (s *Server) Detach() {
	s.t.Helper()
	s.must("detach", func() error {
		ctx := context.Background()
		// A name and password that the primary does not know keep the replica from
		// reconnecting.
		err := s.masterUser(ctx, "detached", "detached")
		return errors.Join(err, s.admin().ClientKillByFilter(ctx, "TYPE", "master").Err())
	})
}

// Attach lets a replica reconnect to the present primary.
func (s *Server) Attach() {
	s.t.Helper()
	s.must("attach", func() error { return s.masterUser(context.Background(), "", "") })
}

func (s *Server) masterUser(ctx context.Context, user, password string) error {
	return s.admin().Do(ctx, "CONFIG", "SET", "masteruser", user, "masterauth", password).Err()
}

func replicaOf(primary *Server) []string {
	host, port, _ := net.SplitHostPort(primary.Announced())
	return []string{"--replicaof", host + " " + port}
}
