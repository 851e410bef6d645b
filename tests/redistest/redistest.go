// Package redistest gives tests a real Redis.
//
// Each test binary decides once how to start it: in a container if Docker answers and
// can run the image, otherwise as the redis-server on the PATH. If neither works, the test
// fails. It never skips, because a suite that passes without Redis proves nothing.
//
//	TIDEMARK_TEST_REDIS        container or process: use only this way
//	TIDEMARK_TEST_REDIS_IMAGE  the container's image, redis:7 by default
//	TIDEMARK_TEST_REDIS_REPORT a file to which each test binary that starts a Redis
//	                           adds a line with its name and the kind of Redis
package redistest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// A Server is a Redis for one test.
type Server struct {
	t      testing.TB
	b      backend
	shared bool

	admin func() *redis.Client // the client for this package's own commands
}

func newServer(t testing.TB, b backend) *Server {
	s := &Server{t: t, b: b}
	s.admin = sync.OnceValue(s.newAdmin)
	t.Cleanup(b.close)
	report()
	return s
}

// Start starts an empty Redis that ends with the test. args are arguments of redis-server,
// such as "--appendonly", "yes"; without them nothing is kept on disk.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	skipShort(t)
	c := choose()
	if c.err != nil {
		t.Fatal(c.err)
	}
	return own(t, c.start, args)
}

// StartProcess is Start for tests that kill and restart the server. Only a process can
// restart on the same port.
func StartProcess(t testing.TB, args ...string) *Server {
	t.Helper()
	return StartWith(t, Options{Args: args})
}

func own(t testing.TB, start starter, args []string) *Server {
	t.Helper()
	b, err := start(args)
	if err != nil {
		t.Fatalf("start Redis: %v", err)
	}
	return newServer(t, b)
}

// Addr returns the server's host:port. It stays the same over Restart.
func (s *Server) Addr() string { return s.b.addr() }

// URL returns the server's address as the program takes it.
func (s *Server) URL() string { return "redis://" + s.Addr() }

// Announced returns the address that Options.Announce gave the server, or Addr.
func (s *Server) Announced() string {
	if p, ok := s.b.(*processServer); ok {
		return p.announced
	}
	return s.Addr()
}

// Client returns a plain client. It is closed with the test.
func (s *Server) Client() *redis.Client {
	c := redis.NewClient(clientOptions(s.Addr()))
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// Flush removes all keys.
func (s *Server) Flush() {
	s.t.Helper()
	s.must("flush", func() error { return s.Client().FlushAll(context.Background()).Err() })
}

// Stop ends the server with SIGTERM and waits for it.
func (s *Server) Stop() {
	s.t.Helper()
	s.must("stop", s.b.stop)
}

// Kill ends the server with SIGKILL and waits for it.
func (s *Server) Kill() {
	s.t.Helper()
	s.must("kill", s.b.kill)
}

// Restart starts the server again after Stop or Kill, with the same address, arguments and
// data directory, and returns when it answers.
func (s *Server) Restart() {
	s.t.Helper()
	s.must("restart", s.b.restart)
}

// Pause stops the process with SIGSTOP: its connections stay open, and it answers nothing.
func (s *Server) Pause() {
	s.t.Helper()
	s.must("pause", s.b.pause)
}

// Resume continues the server after Pause.
func (s *Server) Resume() {
	s.t.Helper()
	s.must("resume", s.b.resume)
}

// StepClock moves the server's own clock by d. The clock keeps running from there, also over
// Restart.
func (s *Server) StepClock(d time.Duration) {
	s.t.Helper()
	p, ok := s.b.(*processServer)
	if !ok || p.clock == nil {
		s.t.Fatal("step the clock of Redis: use StartWithClock")
	}
	s.must("step the clock of", func() error { return p.clock.step(d) })
}

func (s *Server) must(what string, do func() error) {
	s.t.Helper()
	if s.shared {
		s.t.Fatalf("%s Redis: other tests use this one too; Start one", what)
	}
	if err := do(); err != nil {
		s.t.Fatalf("%s Redis: %v", what, err)
	}
}

// clientOptions are the options of a client that sends only the test's commands.
func clientOptions(addr string) *redis.Options {
	return &redis.Options{Addr: addr, Protocol: 2, DisableIdentity: true}
}
