package system

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
)

// A Redis is a redis-server process that a system keeps its events in. It keeps
// nothing on disk.
type Redis struct {
	addr    string
	process *process
}

// StartRedis starts one with its files in dir.
func StartRedis(ctx context.Context, dir string) (*Redis, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	p, err := launch(dir, filepath.Join(dir, "redis.log"), "redis-server", "--bind", "127.0.0.1",
		"--port", strconv.Itoa(port), "--dir", dir, "--save", "", "--appendonly", "no")
	if err != nil {
		return nil, err
	}
	r := &Redis{addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), process: p}
	pong := func() bool {
		got, err := r.ask("PING")
		return err == nil && strings.HasPrefix(got, "+PONG")
	}
	if err := p.await(ctx, pong); err != nil {
		p.stop()
		return nil, err
	}
	return r, nil
}

// Stop ends it. A nil Redis has ended already.
func (r *Redis) Stop() {
	if r != nil {
		r.process.stop()
	}
}

// Addr is its address, host:port.
func (r *Redis) Addr() string { return r.addr }

// URL is its address in the form that clients take.
func (r *Redis) URL() string { return "redis://" + r.addr }

// PIDs are that of its process.
func (r *Redis) PIDs() []int { return r.process.pids() }

// ask sends a command in a line. Only the answers of PING and INFO are understood.
func (r *Redis) ask(command string) (string, error) {
	return ask(r.addr, command+"\r\n", func(answer string) bool {
		head, body, found := strings.Cut(answer, "\r\n")
		if !found || !strings.HasPrefix(head, "$") {
			return found
		}
		size, err := strconv.Atoi(head[1:])
		return err != nil || len(body) >= size+2
	})
}

// Commands is how often each command was called since the start, by its name in
// lower case: those that clients send, and those that scripts call.
func (r *Redis) Commands() (map[string]int64, error) {
	text, err := r.ask("INFO commandstats")
	if err != nil {
		return nil, err
	}
	calls := make(map[string]int64)
	for line := range strings.Lines(text) {
		name, rest, found := strings.Cut(line, ":calls=")
		if !found {
			continue
		}
		count, _, _ := strings.Cut(rest, ",")
		n, err := strconv.ParseInt(count, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("INFO commandstats: %q: %w", line, err)
		}
		calls[strings.TrimPrefix(name, "cmdstat_")] = n
	}
	return calls, nil
}

// RedisVersion is that of the redis-server that is installed.
func RedisVersion() (string, error) {
	text, err := output("redis-server", "--version")
	if err != nil {
		return "", err
	}
	_, text, _ = strings.Cut(text, "v=")
	version, _, _ := strings.Cut(text, " ")
	return version, nil
}
