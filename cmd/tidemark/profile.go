package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strings"
	"sync"
	"time"
)

const (
	// profileWait bounds the longest profile or trace that can be asked for, with its
	// answer.
	profileWait = 5 * time.Minute
	// profileEnd is how long a profile that is being taken may still take when the
	// program ends.
	profileEnd = time.Second
)

// A profiler serves the program's profiles, on loopback alone: they tell what is in memory,
// and to take one costs time. A nil one serves nothing.
type profiler struct {
	server  *http.Server
	running sync.WaitGroup
}

// checkProfiles looks at an address that needs no looking up.
func (c *serveCmd) checkProfiles() error {
	if c.PprofListen == "" {
		return nil
	}
	host, _, err := net.SplitHostPort(c.PprofListen)
	if err != nil {
		return usageError(fmt.Sprintf("--pprof-listen %s: want HOST:PORT", c.PprofListen))
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && !ip.Unmap().IsLoopback() {
		return c.profilesExposed()
	}
	return nil
}

func (c *serveCmd) profilesExposed() error {
	return usageError(fmt.Sprintf("--pprof-listen %s is not a loopback address: profiles tell what is in memory; "+
		"give 127.0.0.1:6060 or the like, and come through ssh", c.PprofListen))
}

// profile starts the profiler, where the flag asks for one.
func (s *server) profile() (*profiler, error) {
	if s.PprofListen == "" {
		return nil, nil
	}
	addr, err := net.ResolveTCPAddr("tcp", s.PprofListen)
	if err != nil {
		return nil, fmt.Errorf("--pprof-listen %s: %w", s.PprofListen, err)
	}
	if !addr.IP.IsLoopback() {
		return nil, s.profilesExposed()
	}
	listener, err := net.ListenTCP("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("--pprof-listen: %w", err)
	}
	p := &profiler{server: &http.Server{
		Handler:           atHome(profiles()),
		ReadHeaderTimeout: s.HeaderTimeout,
		ReadTimeout:       s.HeaderTimeout,
		WriteTimeout:      profileWait,
		IdleTimeout:       s.IdleTimeout,
		ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
	}}
	s.logger.Info("profiles are served", "address", listener.Addr().String())
	p.running.Go(func() {
		if err := p.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.logger.Error("profiles are not served any more", "error", err)
		}
	})
	return p, nil
}

// close ends the profiler, and waits for it.
func (p *profiler) close() {
	if p == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), profileEnd)
	defer cancel()
	if p.server.Shutdown(ctx) != nil {
		_ = p.server.Close() // whoever waits for a profile does not get it
	}
	p.running.Wait()
}

// profiles are those of net/http/pprof, at its addresses.
func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// atHome refuses requests for another host than this one: a page whose name has come to
// mean this machine (DNS rebinding) must not read what is in memory.
func atHome(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isHome(r.Host) {
			http.Error(w, "profiles are for this machine alone", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isHome reports whether host, with or without a port, is a loopback address or localhost.
func isHome(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if addr, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return addr.IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}
