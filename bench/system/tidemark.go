package system

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/tidemark/tidemark/bench/load"
)

// Tidemark is one or several nodes. Without Redis it is one node with the embedded log,
// which fsyncs every event.
type Tidemark struct {
	program string
	nodes   []tidemarkNode
}

type tidemarkNode struct {
	*process
	addr string
}

var _ System = (*Tidemark)(nil)

// NewTidemark uses the program at the given path.
func NewTidemark(program string) *Tidemark { return &Tidemark{program: program} }

// Name returns "tidemark".
func (t *Tidemark) Name() string { return "tidemark" }

// Version returns the output of "tidemark version".
func (t *Tidemark) Version() (string, error) { return commandOutput(t.program, "version") }

// Start starts one node.
func (t *Tidemark) Start(ctx context.Context, o Options) error {
	return t.StartNodes(ctx, o, 1)
}

// StartNodes starts several nodes on one Redis.
func (t *Tidemark) StartNodes(ctx context.Context, o Options, count int) error {
	for i := range count {
		if err := t.startNode(ctx, o, i); err != nil {
			t.Stop()
			return err
		}
	}
	return nil
}

func (t *Tidemark) startNode(ctx context.Context, o Options, i int) error {
	name := "n" + strconv.Itoa(i+1)
	dir := filepath.Join(o.Dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	program, err := filepath.Abs(t.program)
	if err != nil {
		return err
	}
	args := []string{"serve", "--listen=127.0.0.1:0", "--log-format=json", "--node=" + name,
		fmt.Sprintf("--retain=*=%d,24h", max(1, o.Retain))}
	if o.Redis != nil {
		args = append(args, "--redis="+o.Redis.URL())
	} else {
		args = append(args, "--data="+filepath.Join(dir, "data"))
	}
	p, err := startProcess(dir, filepath.Join(dir, "tidemark.log"), program, args...)
	if err != nil {
		return err
	}
	node := tidemarkNode{process: p}
	listening := func() bool {
		node.addr = listenAddress(p.output())
		return node.addr != "" && isReady(node.addr)
	}
	err = p.waitUntil(ctx, listening)
	t.nodes = append(t.nodes, node)
	return err
}

// listenAddress finds the listen address in a node's log, or returns "".
func listenAddress(log string) string {
	for line := range strings.Lines(log) {
		var entry struct{ Msg, Address string }
		if json.Unmarshal([]byte(line), &entry) == nil && entry.Msg == "listening" {
			return entry.Address
		}
	}
	return ""
}

func isReady(addr string) bool {
	answer, err := get(addr, "/readyz")
	return err == nil && strings.HasPrefix(answer, "HTTP/1.1 200")
}

// get returns a node's response, including the header.
func get(addr, path string) (string, error) {
	request := "GET " + path + " HTTP/1.1\r\nHost: " + addr + "\r\nConnection: close\r\n\r\n"
	return exchange(addr, request, nil)
}

// Stop ends all nodes.
func (t *Tidemark) Stop() {
	for _, n := range t.nodes {
		n.stop()
	}
	t.nodes = nil
}

// PIDs returns the ids of the nodes.
func (t *Tidemark) PIDs() []int {
	var pids []int
	for _, n := range t.nodes {
		pids = append(pids, n.pids()...)
	}
	return pids
}

// Follow uses the first node.
func (t *Tidemark) Follow(transport Transport) (load.Follow, bool) {
	return t.FollowAt(0, transport), true
}

// FollowAt describes how to follow a room on the given node.
func (t *Tidemark) FollowAt(node int, transport Transport) load.Follow {
	if transport == WebSocket {
		return load.Follow{Addr: t.nodes[node].addr, Protocol: load.TidemarkWebSocket, Path: "/v1/ws"}
	}
	return load.Follow{Addr: t.nodes[node].addr, Protocol: load.SSE, Path: "/v1/rooms/{room}/events"}
}

// Publish uses the first node.
func (t *Tidemark) Publish() load.Publish { return t.PublishAt(0) }

// PublishAt describes how to publish through the given node.
func (t *Tidemark) PublishAt(node int) load.Publish {
	return load.Publish{Addr: t.nodes[node].addr, How: load.Post, Path: "/v1/rooms/{room}/events", Body: `{"data":{data}}`}
}

// PublishBatch publishes the given number of events per request through the first node.
func (t *Tidemark) PublishBatch(events int) load.Publish {
	return load.Publish{
		Addr: t.nodes[0].addr, How: load.Post, Path: "/v1/events",
		Body: `{"events":[{items}]}`, Item: `{"room":"{room}","data":{data}}`, Batch: events,
	}
}

// PublishWebSocket publishes over WebSockets through the first node.
func (t *Tidemark) PublishWebSocket() load.Publish {
	return load.Publish{
		Addr: t.nodes[0].addr, How: load.PublishWebSocket, Path: "/v1/ws",
		Body: `{"op":"publish","room":"{room}","data":{data}}`,
	}
}

// Metric returns the sum of a counter over all labels and nodes.
func (t *Tidemark) Metric(name string) (sum float64, err error) {
	for _, n := range t.nodes {
		text, err := get(n.addr, "/metrics")
		if err != nil {
			return 0, err
		}
		value, err := metric(text, name)
		if err != nil {
			return 0, err
		}
		sum += value
	}
	return sum, nil
}

func metric(text, name string) (sum float64, err error) {
	for line := range strings.Lines(text) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if bare, _, _ := strings.Cut(series, "{"); bare != name {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("metric %s: %w", name, err)
		}
		sum += v
	}
	return sum, nil
}
