package system

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/tidemark/tidemark/bench/load"
)

// Nchan is nginx with the nchan module, as packaged by Debian.
type Nchan struct {
	process *process
	addr    string
}

var _ System = (*Nchan)(nil)

// NewNchan uses the installed nginx.
func NewNchan() *Nchan { return &Nchan{} }

// Name returns "nchan".
func (n *Nchan) Name() string { return "nchan" }

// nchanModule is the path of the module in Debian's package.
const nchanModule = "/usr/lib/nginx/modules/ngx_nchan_module.so"

// Version returns the version of nginx and, if dpkg knows it, of the nchan package.
func (n *Nchan) Version() (string, error) {
	if _, err := os.Stat(nchanModule); err != nil {
		return "", fmt.Errorf("nchan is not installed: %w", err)
	}
	nginx, err := commandOutput("nginx", "-v")
	if err != nil {
		return "", err
	}
	_, nginx, _ = strings.Cut(nginx, "nginx version: ")
	if module, err := commandOutput("dpkg-query", "--showformat=${Version}", "--show", "libnginx-mod-nchan"); err == nil {
		nginx += ", libnginx-mod-nchan " + module
	}
	return nginx, nil
}

// nchanConfig has the settings with which nchan performs best: a worker per core, an
// accept queue per worker, no access log, and no limit on requests per connection.
const nchanConfig = `
load_module %[1]s;
daemon off;
user root;
pid nginx.pid;
error_log stderr warn;
worker_processes auto;
worker_rlimit_nofile 20000;
events { worker_connections 19000; }
http {
	access_log off;
	keepalive_requests 1000000000;
	keepalive_timeout 1h;
	tcp_nodelay on;
	client_body_temp_path body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
	nchan_shared_memory_size 1024M;
	nchan_message_timeout 1h;
	nchan_message_buffer_length %[3]d;
	%[4]s
	server {
		listen %[2]s backlog=4096 reuseport;
		location ~ ^/sub/([a-z0-9-]+)$ {
			nchan_subscriber eventsource websocket;
			nchan_channel_id $1;
			nchan_subscriber_first_message newest;
			%[5]s
		}
		location ~ ^/pub/([a-z0-9-]+)$ {
			nchan_publisher http;
			nchan_channel_id $1;
			%[5]s
		}
	}
}
`

// Start starts nginx.
func (n *Nchan) Start(ctx context.Context, o Options) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	n.addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	upstream, pass := "", ""
	if o.Redis != nil {
		upstream = "upstream events { nchan_redis_server " + o.Redis.URL() + "; }"
		pass = "nchan_redis_pass events;"
	}
	text := fmt.Sprintf(nchanConfig, nchanModule, n.addr, max(1, o.Retain), upstream, pass)
	config := filepath.Join(o.Dir, "nginx.conf")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	n.process, err = startProcess(o.Dir, filepath.Join(o.Dir, "nginx.log"), "nginx", "-p", o.Dir, "-c", config, "-e", "stderr")
	if err != nil {
		return err
	}
	if err := n.process.waitUntil(ctx, func() bool { return n.acceptsPublishes() }); err != nil {
		n.Stop()
		return err
	}
	return nil
}

// acceptsPublishes reports whether all workers accept publishes. With Redis each worker
// has its own connection, which takes time to open. The kernel picks the worker for a
// request, so several requests are sent.
func (n *Nchan) acceptsPublishes() bool {
	request := "POST /pub/start HTTP/1.1\r\nHost: " + n.addr + "\r\nConnection: close\r\nContent-Length: 1\r\n\r\n1"
	for range 20 {
		answer, err := exchange(n.addr, request, nil)
		if err != nil || !strings.HasPrefix(answer, "HTTP/1.1 20") {
			return false
		}
	}
	return true
}

// Stop ends nginx.
func (n *Nchan) Stop() {
	n.process.stop()
	n.process = nil
}

// PIDs returns the ids of the nginx main process and its workers.
func (n *Nchan) PIDs() []int {
	return n.process.pids()
}

// Follow supports both transports.
func (n *Nchan) Follow(t Transport) (load.Follow, bool) {
	protocol := load.SSE
	if t == WebSocket {
		protocol = load.BareWebSocket
	}
	return load.Follow{Addr: n.addr, Protocol: protocol, Path: "/sub/{room}"}, true
}

// Publish sends a POST whose body is the data.
func (n *Nchan) Publish() load.Publish {
	return load.Publish{Addr: n.addr, How: load.Post, Path: "/pub/{room}", Body: "{data}"}
}
