// Package redistest gives tests a real Redis.
//
// Where it comes from is decided once per test binary: a container where Docker
// answers and the image can be had, else the redis-server on the PATH, else the
// test fails. It never skips: a suite that passes without Redis proves nothing.
//
//	TIDEMARK_TEST_REDIS        container or process: only that way will do
//	TIDEMARK_TEST_REDIS_IMAGE  the container's image, redis:7 by default
//	TIDEMARK_TEST_REDIS_REPORT a file to which each test binary that starts a Redis
//	                           adds a line saying so: its name, and where from
package redistest

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Server is a Redis, in the hands of one test.
type Server struct {
	t      testing.TB
	b      backend
	shared bool

	admin func() *redis.Client // for what this package asks; one for all questions
}

func newServer(t testing.TB, b backend) *Server {
	s := &Server{t: t, b: b}
	s.admin = sync.OnceValue(s.newAdmin)
	t.Cleanup(b.close)
	report()
	return s
}

// Start gives the test a Redis of its own, with nothing in it, which ends with
// the test. args are redis-server's, such as "--appendonly", "yes"; without any
// nothing is kept on disk.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	c := choose()
	if c.err != nil {
		t.Fatal(c.err)
	}
	return own(t, c.start, args)
}

// StartProcess is Start for tests that kill and restart the server, which only a
// process can do on the same port.
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

// Addr is the server's host:port. It stays the same over Restart.
func (s *Server) Addr() string { return s.b.addr() }

// URL is the server's address in the form that the program takes.
func (s *Server) URL() string { return "redis://" + s.Addr() }

// Announced is the address that Options.Announce gave it, else Addr.
func (s *Server) Announced() string {
	if p, ok := s.b.(*processServer); ok {
		return p.announced
	}
	return s.Addr()
}

// Client returns a plain client that is closed with the test.
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

// Restart starts the server again after Stop or Kill, with the same address,
// arguments and data directory, and returns once it answers.
func (s *Server) Restart() {
	s.t.Helper()
	s.must("restart", s.b.restart)
}

// Pause stops the process as it stands (SIGSTOP): its connections stay open, and
// it says nothing.
func (s *Server) Pause() {
	s.t.Helper()
	s.must("pause", s.b.pause)
}

// Resume lets the server go on after Pause.
func (s *Server) Resume() {
	s.t.Helper()
	s.must("resume", s.b.resume)
}

// StepClock moves the clock of a server that has one of its own, by d from where
// it stands. It runs on from there, over Restart too.
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

// clientOptions are those of a client that asks for nothing but what the test asks for.
func clientOptions(addr string) *redis.Options {
	return &redis.Options{Addr: addr, Protocol: 2, DisableIdentity: true}
}
