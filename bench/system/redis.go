package system

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
)

// A Redis is a redis-server process for the events of a system. It has no persistence.
type Redis struct {
	addr    string
	process *process
}

// StartRedis starts a Redis with its files in dir.
func StartRedis(ctx context.Context, dir string) (*Redis, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	p, err := startProcess(dir, filepath.Join(dir, "redis.log"), "redis-server", "--bind", "127.0.0.1",
		"--port", strconv.Itoa(port), "--dir", dir, "--save", "", "--appendonly", "no")
	if err != nil {
		return nil, err
	}
	r := &Redis{addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), process: p}
	pong := func() bool {
		got, err := r.call("PING")
		return err == nil && strings.HasPrefix(got, "+PONG")
	}
	if err := p.waitUntil(ctx, pong); err != nil {
		p.stop()
		return nil, err
	}
	return r, nil
}

// Stop ends the process. Stopping a nil Redis does nothing.
func (r *Redis) Stop() {
	if r != nil {
		r.process.stop()
	}
}

// Addr returns the address, host:port.
func (r *Redis) Addr() string { return r.addr }

// URL returns the address as a URL.
func (r *Redis) URL() string { return "redis://" + r.addr }

// PIDs returns the id of the process.
func (r *Redis) PIDs() []int { return r.process.pids() }

// call sends an inline command. It understands only the replies of PING and INFO.
func (r *Redis) call(command string) (string, error) {
	return exchange(r.addr, command+"\r\n", func(answer string) bool {
		head, body, found := strings.Cut(answer, "\r\n")
		if !found || !strings.HasPrefix(head, "$") {
			return found
		}
		size, err := strconv.Atoi(head[1:])
		return err != nil || len(body) >= size+2
	})
}

// Commands returns how often each command was called since the start, by lower-case
// name. It includes commands called by scripts.
func (r *Redis) Commands() (map[string]int64, error) {
	text, err := r.call("INFO commandstats")
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

// RedisVersion returns the version of the installed redis-server.
func RedisVersion() (string, error) {
	text, err := commandOutput("redis-server", "--version")
	if err != nil {
		return "", err
	}
	_, text, _ = strings.Cut(text, "v=")
	version, _, _ := strings.Cut(text, " ")
	return version, nil
}
