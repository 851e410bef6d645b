package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"
)

const (
	// primaryName is the Sentinels' name for the primary.
	primaryName = "tidemark"

	sentinels = 3
	quorum    = 2
)

// SentinelOptions tune StartSentinel. The zero value and nil mean the defaults.
type SentinelOptions struct {
	Options      // of primary and replicas; Announce also of the Sentinels
	Replicas int // 0 means 1
}

// A Sentinel is a primary with replicas, and three Sentinels that replace a failed primary.
type Sentinel struct {
	t     testing.TB
	data  []*Server // in the order of their start, the first primary first
	watch []*Server // the Sentinels
}

// StartSentinel starts the servers and returns when the Sentinels know each other and the
// replicas. A primary that does not answer is replaced after about 2 s.
func StartSentinel(t testing.TB, opt *SentinelOptions) *Sentinel {
	t.Helper()
	if opt == nil {
		opt = new(SentinelOptions)
	}
	s := &Sentinel{t: t}
	data := opt.Options
	s.data = append(s.data, StartWith(t, data))
	data.Args = slices.Concat(opt.Args, replicaOf(s.data[0]))
	for range max(1, opt.Replicas) {
		s.data = append(s.data, StartWith(t, data))
	}
	for range sentinels {
		s.watch = append(s.watch, s.startOne(opt))
	}
	if err := s.Settle(t.Context()); err != nil {
		t.Fatalf("start Sentinel: %v", err)
	}
	return s
}

// startOne starts a Sentinel with short periods. Its tilt period, in which a Sentinel does
// nothing after its machine stood still, is longer than Redis's own trigger, because a busy
// machine is no reason to pause for half a minute. A replica can be promoted if it was heard
// of within five ping periods; while its primary is down, it is asked once a second.
func (s *Sentinel) startOne(opt *SentinelOptions) *Server {
	s.t.Helper()
	one := startWith(s.t, Options{Args: []string{"--sentinel"}, Newer: opt.Newer, Announce: opt.Announce}, s.conf)
	err := one.admin().Do(s.t.Context(), "SENTINEL", "DEBUG", "info-period", 200, "publish-period", 200, "ask-period", 200,
		"ping-period", 500, "tilt-trigger", 20_000, "tilt-period", 1000).Err()
	if err != nil {
		s.t.Fatalf("set up Sentinel: %v", err)
	}
	return one
}

// conf returns the configuration of a Sentinel, which the Sentinel then rewrites.
func (s *Sentinel) conf(announced string) []byte {
	host, port, _ := net.SplitHostPort(s.data[0].Announced())
	ownHost, ownPort, _ := net.SplitHostPort(announced)
	return fmt.Appendf(nil, `
sentinel monitor %[1]s %[2]s %[3]s %[4]d
sentinel down-after-milliseconds %[1]s 1000
sentinel failover-timeout %[1]s 2000
sentinel announce-ip %[5]s
sentinel announce-port %[6]s
`, primaryName, host, port, quorum, ownHost, ownPort)
}

// URL returns the address as the program takes it.
func (s *Sentinel) URL() string { return urlOf("redis+sentinel", s.watch, "master_name="+primaryName) }

// Nodes returns the servers with data in the order of their start, regardless of their
// roles.
func (s *Sentinel) Nodes() []*Server { return s.data }

// Sentinels returns the Sentinel servers.
func (s *Sentinel) Sentinels() []*Server { return s.watch }

// Primary returns the server that the Sentinels call primary now.
func (s *Sentinel) Primary() *Server {
	s.t.Helper()
	var primary *Server
	err := until(context.Background(), func(ctx context.Context) (err error) {
		primary, err = s.primary(ctx)
		return err
	})
	if err != nil {
		s.t.Fatalf("primary: %v", err)
	}
	return primary
}

// primary returns the server on which all running Sentinels agree.
func (s *Sentinel) primary(ctx context.Context) (*Server, error) {
	var agreed *Server
	for _, w := range s.watch {
		if !w.running() {
			continue
		}
		at, err := w.admin().Do(ctx, "SENTINEL", "get-master-addr-by-name", primaryName).StringSlice()
		if err != nil {
			return nil, fmt.Errorf("sentinel %s: %w", w.Addr(), err)
		}
		named := s.announcedAs(net.JoinHostPort(at[0], at[1]))
		if named == nil || agreed != nil && named != agreed {
			return nil, fmt.Errorf("sentinel %s says that %s is primary, others differ", w.Addr(), at)
		}
		agreed = named
	}
	if agreed == nil {
		return nil, errors.New("no Sentinel runs")
	}
	return agreed, nil
}

func (s *Sentinel) announcedAs(addr string) *Server {
	for _, n := range s.data {
		if n.Announced() == addr {
			return n
		}
	}
	return nil
}

// Replicas returns the servers with data except the primary.
func (s *Sentinel) Replicas() []*Server {
	s.t.Helper()
	primary := s.Primary()
	return slices.DeleteFunc(slices.Clone(s.data), func(n *Server) bool { return n == primary })
}

// Kill ends the primary with SIGKILL and returns it.
func (s *Sentinel) Kill() *Server {
	s.t.Helper()
	primary := s.Primary()
	primary.Kill()
	return primary
}

// Failover makes a replica the primary, as an operator would, and returns it when all
// servers follow it.
func (s *Sentinel) Failover(ctx context.Context) (*Server, error) {
	old, err := s.primary(ctx)
	if err != nil {
		return nil, err
	}
	var promoted *Server
	var asked time.Time
	err = until(ctx, func(ctx context.Context) error {
		leads, err := s.primary(ctx)
		if err != nil {
			return err
		}
		if leads != old { // may change again: an abandoned failover is requested again
			promoted = leads
			return leads.leads(ctx)
		}
		err = fmt.Errorf("%s still leads", old.Addr())
		if time.Since(asked) < failoverEvery { // a Sentinel abandons a failover that is delayed
			return err
		}
		if refused := s.watch[0].admin().Do(ctx, "SENTINEL", "FAILOVER", primaryName).Err(); refused != nil {
			return errors.Join(err, refused) // too soon after another failover
		}
		asked = time.Now()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("fail over: %w", err)
	}
	return promoted, s.Settle(ctx)
}

// Promoted waits until the primary is another server than old, and returns it.
func (s *Sentinel) Promoted(ctx context.Context, old *Server) (promoted *Server, err error) {
	err = until(ctx, func(ctx context.Context) error {
		if promoted, err = s.primary(ctx); err != nil {
			return err
		}
		if promoted == old {
			return fmt.Errorf("%s is still the primary", old.Addr())
		}
		return promoted.leads(ctx)
	})
	return promoted, err
}

// Settle returns when the running servers are one primary and connected replicas, and all
// Sentinels know all servers.
func (s *Sentinel) Settle(ctx context.Context) error {
	return until(ctx, func(ctx context.Context) error {
		primary, err := s.primary(ctx)
		if err == nil {
			err = primary.leads(ctx)
		}
		for _, n := range s.data {
			if err == nil && n != primary && n.running() {
				err = n.linked(ctx)
			}
		}
		for _, w := range s.watch {
			if err == nil && w.running() {
				err = s.knowsAll(ctx, w)
			}
		}
		return err
	})
}

// knowsAll returns an error until the Sentinel w knows the other Sentinels and servers.
func (s *Sentinel) knowsAll(ctx context.Context, w *Server) error {
	for what, want := range map[string]int{"replicas": len(s.data) - 1, "sentinels": len(s.watch) - 1} {
		known, err := w.admin().Do(ctx, "SENTINEL", what, primaryName).Slice()
		if err != nil {
			return fmt.Errorf("sentinel %s: %w", w.Addr(), err)
		}
		if len(known) != want {
			return fmt.Errorf("sentinel %s knows %d %s, not %d", w.Addr(), len(known), what, want)
		}
	}
	return nil
}
