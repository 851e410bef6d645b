package redistest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"
)

const (
	redisPort = "6379/tcp"

	// pullWait bounds the first start, which may have to pull the image.
	pullWait = 2 * time.Minute
)

// errContainer reports an operation that a container does not support: its port on the host
// changes with every start.
var errContainer = errors.New("not possible in a container: use StartProcess")

// A containerServer is a Redis in a container.
type containerServer struct {
	c  testcontainers.Container
	at string
}

var _ backend = (*containerServer)(nil)

func image() string {
	if name := os.Getenv("TIDEMARK_TEST_REDIS_IMAGE"); name != "" {
		return name
	}
	return "redis:7"
}

// dockerAnswers returns an error unless a Docker engine answers.
func dockerAnswers() (err error) {
	// The library panics if it finds no engine.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("no Docker engine answers: %v", r)
		}
	}()
	p, err := testcontainers.NewDockerProvider()
	if err != nil {
		return fmt.Errorf("no Docker engine answers: %w", err)
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(context.Background(), startWait)
	defer cancel()
	if err := p.Health(ctx); err != nil {
		return fmt.Errorf("no Docker engine answers: %w", err)
	}
	return nil
}

// startContainer starts a Redis in a container, and returns when it answers from this host.
func startContainer(args []string) (backend, error) {
	ctx, cancel := context.WithTimeout(context.Background(), pullWait)
	defer cancel()
	cmd := append([]string{program, "--save", "", "--appendonly", "no"}, args...)
	c, err := testcontainers.Run(ctx, image(),
		testcontainers.WithExposedPorts(redisPort),
		testcontainers.WithCmd(cmd...),
		testcontainers.WithWaitStrategyAndDeadline(startWait,
			wait.ForLog("Ready to accept connections"),
			wait.ForListeningPort(redisPort).SkipInternalCheck(), // the image may have no tools; awaitPing asks Redis itself
		),
	)
	if err != nil {
		return nil, errors.Join(err, terminate(c))
	}
	s := &containerServer{c: c}
	if s.at, err = c.PortEndpoint(ctx, redisPort, ""); err == nil {
		err = awaitPing(s.at, func() error { return nil })
	}
	if err != nil {
		return nil, errors.Join(err, terminate(c))
	}
	return s, nil
}

func (s *containerServer) addr() string { return s.at }

func (s *containerServer) stop() error {
	timeout := stopWait
	ctx, cancel := context.WithTimeout(context.Background(), 2*stopWait)
	defer cancel()
	return s.c.Stop(ctx, &timeout)
}

func (s *containerServer) kill() error    { return errContainer }
func (s *containerServer) restart() error { return errContainer }
func (s *containerServer) pause() error   { return errContainer }
func (s *containerServer) resume() error  { return errContainer }
func (s *containerServer) close()         { _ = terminate(s.c) }

// terminate removes the container. It accepts nil and a container that never started.
func terminate(c testcontainers.Container) error {
	return testcontainers.TerminateContainer(c)
}
