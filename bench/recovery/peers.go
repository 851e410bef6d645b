package recovery

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/tidemark/tidemark/bench/system"
)

// A peer is a compared system: how to start a node of it, and how to publish.
type peer interface {
	// name is the name for client.js and in the results.
	name() string

	// title is the name for readers.
	title() string

	// version fails if the system is not installed.
	version() (string, error)

	// command returns the command line of a node. It may write files into its directory.
	command(n *node) (program []string, err error)

	// publish returns the request that publishes data. The key is the same when the
	// publish is repeated.
	publish(addr, room, data, key string) *http.Request

	// acknowledged reports whether the body of a 2xx answer says that the event is stored.
	acknowledged(body string) bool
}

// post returns a POST request.
func post(url, body string) *http.Request {
	r, err := http.NewRequest(http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		panic(err) // the URL is made of an address and a constant
	}
	r.Header.Set("Content-Type", "application/json")
	return r
}

type tidemark struct{ program string }

func (tidemark) name() string               { return "tidemark" }
func (tidemark) title() string              { return "Tidemark" }
func (tidemark) acknowledged(_ string) bool { return true }

func (t tidemark) version() (string, error) {
	version, err := system.CommandOutput(t.program, "version")
	return strings.TrimPrefix(version, "tidemark "), err
}

func (t tidemark) command(n *node) ([]string, error) {
	program, err := filepath.Abs(t.program)
	return []string{program, "serve", "--listen=" + n.addr, "--node=" + n.name, "--redis=" + n.redis,
		fmt.Sprintf("--retain=*=%d,24h", n.history)}, err
}

func (tidemark) publish(addr, room, data, key string) *http.Request {
	r := post("http://"+addr+"/v1/rooms/"+room+"/events", `{"data":`+data+`}`)
	r.Header.Set("Idempotency-Key", key)
	return r
}

type centrifugo struct{ program string }

func (centrifugo) name() string  { return "centrifugo" }
func (centrifugo) title() string { return "Centrifugo" }

var moduleVersion = regexp.MustCompile(`(?m)^\s*mod\s+github\.com/centrifugal/centrifugo/v6\s+v(\S+)`)

// version reads the version of the module: a program built by "go install" does not know
// its own.
func (c centrifugo) version() (string, error) {
	info, err := system.CommandOutput("go", "version", "-m", c.program)
	if err != nil {
		return "", err
	}
	if found := moduleVersion.FindStringSubmatch(info); found != nil {
		return found[1], nil
	}
	return "", fmt.Errorf("%s is not a Centrifugo of version 6", c.program)
}

// recoveryLimit is the most publications that a Centrifugo client recovers. It is more
// than a client misses in any trial but 5 and 8. With a limit of 25,000, clients retry
// the recovery of 20,000 events of 1 KiB until a timeout ends it, again and again.
const recoveryLimit = 2_000

// command turns on history and recovery, with a higher limit than the default of 300.
// Positions are checked every 5 s instead of every 40 s.
func (c centrifugo) command(n *node) ([]string, error) {
	_, port, _ := strings.Cut(n.addr, ":")
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	type object = map[string]any
	text, err := json.MarshalIndent(object{
		"http_server": object{"address": "127.0.0.1", "port": number},
		"engine":      object{"type": "redis", "redis": object{"address": []string{n.redis}}},
		"http_api":    object{"insecure": true},
		"client": object{
			"allowed_origins":                       []string{"*"},
			"allow_anonymous_connect_without_token": true,
			"recovery_max_publication_limit":        min(n.history, recoveryLimit),
			"channel_position_check_delay":          "5s",
		},
		"channel": object{"without_namespace": object{
			"history_size": n.history, "history_ttl": "24h", "force_recovery": true, "force_positioning": true,
			"allow_subscribe_for_client": true, "allow_subscribe_for_anonymous": true,
		}},
	}, "", "  ")
	if err != nil {
		return nil, err
	}
	config := filepath.Join(n.dir, "config.json")
	return []string{c.program, "--config", config}, os.WriteFile(config, text, 0o600)
}

func (centrifugo) publish(addr, room, data, key string) *http.Request {
	return post("http://"+addr+"/api/publish", fmt.Sprintf(`{"channel":%q,"data":%s,"idempotency_key":%q}`, room, data, key))
}

// acknowledged looks for an error: Centrifugo answers 200 in any case.
func (centrifugo) acknowledged(body string) bool { return !strings.Contains(body, `"error"`) }

type nchan struct{}

func (nchan) name() string               { return "nchan" }
func (nchan) title() string              { return "nchan" }
func (nchan) version() (string, error)   { return system.NewNchan().Version() }
func (nchan) acknowledged(_ string) bool { return true }

const nchanConfig = `
load_module /usr/lib/nginx/modules/ngx_nchan_module.so;
daemon off;
user root;
pid nginx.pid;
error_log stderr warn;
worker_processes auto;
events { worker_connections 4096; }
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
	nchan_message_timeout 24h;
	nchan_message_buffer_length %[2]d;
	upstream events { nchan_redis_server %[3]s; }
	server {
		listen %[1]s backlog=4096;
		location ~ ^/sub/([a-z0-9-]+)$ {
			nchan_subscriber eventsource;
			nchan_channel_id $1;
			nchan_subscriber_first_message newest;
			nchan_redis_pass events;
		}
		location ~ ^/pub/([a-z0-9-]+)$ {
			nchan_publisher http;
			nchan_channel_id $1;
			nchan_redis_pass events;
		}
	}
}
`

func (nchan) command(n *node) ([]string, error) {
	config := filepath.Join(n.dir, "nginx.conf")
	text := fmt.Sprintf(nchanConfig, n.addr, n.history, n.redis)
	return []string{"nginx", "-p", n.dir, "-c", config, "-e", "stderr"}, os.WriteFile(config, []byte(text), 0o600)
}

func (nchan) publish(addr, room, data, _ string) *http.Request {
	return post("http://"+addr+"/pub/"+room, data)
}

type socketio struct{ dir string }

func (socketio) name() string               { return "socketio" }
func (socketio) title() string              { return "Socket.IO" }
func (socketio) acknowledged(_ string) bool { return true }

// version reads the versions of the packages from package.json, which pins them.
func (s socketio) version() (string, error) {
	pinned, err := dependencies(s.dir)
	if err != nil {
		return "", err
	}
	const adapter = "@socket.io/redis-streams-adapter"
	return fmt.Sprintf("%s with %s %s", pinned["socket.io"], adapter, pinned[adapter]), nil
}

func (s socketio) command(n *node) ([]string, error) {
	program, err := filepath.Abs(filepath.Join(s.dir, "socketio.js"))
	_, port, _ := strings.Cut(n.addr, ":")
	return []string{"node", program, port, n.redis, strconv.Itoa(n.history)}, err
}

func (socketio) publish(addr, room, data, _ string) *http.Request {
	return post("http://"+addr+"/publish/"+room, data)
}

// clientVersions returns the versions of the client libraries and of Node.js.
func clientVersions(packages string) (string, error) {
	pinned, err := dependencies(packages)
	if err != nil {
		return "", err
	}
	node, err := system.CommandOutput("node", "--version")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("eventsource %s, centrifuge %s, socket.io-client %s, Node.js %s", pinned["eventsource"],
		pinned["centrifuge"], pinned["socket.io-client"], strings.TrimPrefix(node, "v")), nil
}

// dependencies returns the versions that package.json pins.
func dependencies(packages string) (map[string]string, error) {
	text, err := os.ReadFile(filepath.Join(packages, "package.json"))
	if err != nil {
		return nil, err
	}
	var pinned struct{ Dependencies map[string]string }
	err = json.Unmarshal(text, &pinned)
	return pinned.Dependencies, err
}
