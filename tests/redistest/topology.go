package redistest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// settleWait is how long servers may take to find each other. On an idle machine they
	// take 1 to 3 s.
	settleWait = 40 * time.Second

	// adminWait bounds one command to a server, which may be stopped.
	adminWait = time.Second

	settlePoll = 10 * time.Millisecond
)

// until repeats try until it returns nil. If ctx ends, or after settleWait, it returns the
// last error.
func until(ctx context.Context, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, settleWait)
	defer cancel()
	poll := time.NewTicker(settlePoll)
	defer poll.Stop()
	var complaint error
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		if complaint == nil || ctx.Err() == nil { // otherwise ctx interrupted the attempt
			complaint = err
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return fmt.Errorf("%w; the last look: %w", ctx.Err(), complaint)
		}
	}
}

// newAdmin returns a client that gives up quickly and never retries.
func (s *Server) newAdmin() *redis.Client {
	opt := clientOptions(s.Addr())
	opt.DialTimeout, opt.ReadTimeout, opt.WriteTimeout = adminWait, adminWait, adminWait
	opt.MaxRetries, opt.DialerRetries = -1, 1
	c := redis.NewClient(opt)
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

// running reports whether the process exists, stopped or not.
func (s *Server) running() bool {
	p, ok := s.b.(*processServer)
	return !ok || p.running()
}

var errDown = errors.New("the server is down")

// replication returns the fields of INFO replication.
func (s *Server) replication(ctx context.Context) (map[string]string, error) {
	if !s.running() {
		return nil, fmt.Errorf("%s: %w", s.Addr(), errDown)
	}
	text, err := s.admin().Info(ctx, "replication").Result()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Addr(), err)
	}
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[name] = value
		}
	}
	return fields, nil
}

// linked returns an error until s is a replica that is connected to its primary.
func (s *Server) linked(ctx context.Context) error {
	info, err := s.replication(ctx)
	if err == nil && info["master_link_status"] != "up" {
		err = fmt.Errorf("%s: role %s, link to its primary %q", s.Addr(), info["role"], info["master_link_status"])
	}
	return err
}

// leads returns an error until s is a primary.
func (s *Server) leads(ctx context.Context) error {
	info, err := s.replication(ctx)
	if err == nil && info["role"] != "master" {
		err = fmt.Errorf("%s: role %s", s.Addr(), info["role"])
	}
	return err
}

// urlOf returns several addresses in the form that the program takes.
func urlOf(scheme string, nodes []*Server, parameters ...string) string {
	for _, n := range nodes[1:] {
		parameters = append(parameters, "addr="+n.Announced())
	}
	return scheme + "://" + nodes[0].Announced() + "?" + strings.Join(parameters, "&")
}
