package recovery

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/tidemark/tidemark/bench/system"
)

// A redis is a redis-server that fsyncs every write, so that a kill loses nothing that
// it has acknowledged.
type redis struct {
	dir, addr string
	starts    int
	program   *system.Program
}

func newRedis(dir string) (*redis, error) {
	port, err := system.FreePort()
	if err != nil {
		return nil, err
	}
	return &redis{dir: dir, addr: address(port)}, nil
}

func (r *redis) url() string { return "redis://" + r.addr }

// start returns when Redis has loaded its data.
func (r *redis) start(ctx context.Context) (err error) {
	_, port, _ := net.SplitHostPort(r.addr)
	r.starts++
	log := filepath.Join(r.dir, fmt.Sprintf("redis-%d.log", r.starts))
	r.program, err = system.StartProgram(r.dir, log, "redis-server", "--bind", "127.0.0.1", "--port", port,
		"--dir", r.dir, "--save", "", "--appendonly", "yes", "--appendfsync", "always")
	if err != nil {
		return err
	}
	return r.program.WaitUntil(ctx, func() bool {
		answer, err := r.call("PING")
		return err == nil && answer == "+PONG"
	})
}

// kill kills Redis as kill -9 does.
func (r *redis) kill() {
	if r.program != nil {
		r.program.Kill()
	}
}

// save copies the append-only files. Nothing must be written meanwhile.
func (r *redis) save() error {
	return os.CopyFS(filepath.Join(r.dir, "saved"), os.DirFS(r.files()))
}

// restore replaces the append-only files with the copy. Redis must not run.
func (r *redis) restore() error {
	if err := os.RemoveAll(r.files()); err != nil {
		return err
	}
	return os.CopyFS(r.files(), os.DirFS(filepath.Join(r.dir, "saved")))
}

func (r *redis) files() string { return filepath.Join(r.dir, "appendonlydir") }

// killReceivers closes the connections on which nodes receive events. It returns how
// many it closed.
func (r *redis) killReceivers() (killed int, err error) {
	list, err := r.call("CLIENT LIST")
	if err != nil {
		return 0, err
	}
	for _, id := range receivers(list) {
		if answer, err := r.call("CLIENT KILL ID " + id); err != nil {
			return killed, err
		} else if answer == ":1" {
			killed++
		}
	}
	return killed, nil
}

// receivers finds the ids of subscribed connections and of those that read a stream in
// the output of CLIENT LIST.
func receivers(list string) (ids []string) {
	for line := range strings.Lines(list) {
		fields := make(map[string]string)
		for field := range strings.FieldsSeq(line) {
			name, value, _ := strings.Cut(field, "=")
			fields[name] = value
		}
		if strings.Contains(fields["flags"], "P") || fields["cmd"] == "xread" {
			ids = append(ids, fields["id"])
		}
	}
	return ids
}

// call sends one command. It returns a status or a number with its first character, and
// a bulk string without it.
func (r *redis) call(command string) (string, error) {
	c, err := net.DialTimeout("tcp", r.addr, time.Second)
	if err != nil {
		return "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(c, command+"\r\n"); err != nil {
		return "", err
	}
	reader := bufio.NewReader(c)
	line, err := reader.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSpace(line)
	if strings.HasPrefix(line, "-") {
		return "", fmt.Errorf("redis: %s: %s", command, line)
	}
	length, isBulk := strings.CutPrefix(line, "$")
	if !isBulk {
		return line, nil
	}
	n, err := strconv.Atoi(length)
	if err != nil || n < 0 {
		return "", fmt.Errorf("redis: %s: %s", command, line)
	}
	bulk := make([]byte, n)
	_, err = io.ReadFull(reader, bulk)
	return string(bulk), err
}

// address returns a loopback address with the port.
func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
