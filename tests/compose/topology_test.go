package compose

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/tidemark/tidemark/tests/program"
	"github.com/tidemark/tidemark/tests/redistest"
)

// tidemark is the real program.
var tidemark program.Program

func TestMain(m *testing.M) { os.Exit(withProgram(m)) }

func withProgram(m *testing.M) int {
	p, remove, err := program.Build()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer remove()
	tidemark = p
	return redistest.Main(m)
}

// A composition is what these tests read of compose.yaml.
type composition struct {
	Services map[string]struct {
		Command     []string
		Environment map[string]string
	}
}

func readComposition(t *testing.T) composition {
	t.Helper()
	var c composition
	if err := yaml.Unmarshal(readFile(t, "compose.yaml"), &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func readFile(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A topology is a running composition.
type topology struct {
	nodes map[string]*program.Server // by name
	url   string                     // nginx's
}

// up starts Redis, the nodes and nginx. They end with the test.
func up(t *testing.T) *topology {
	t.Helper()
	c := readComposition(t)
	redis := redistest.StartProcess(t, c.Services["redis"].Command[1:]...)
	top := &topology{nodes: map[string]*program.Server{}}
	for _, name := range []string{"node1", "node2"} {
		top.nodes[name] = tidemark.Serve(t, program.Options{Env: nodeEnv(c.Services[name].Environment, redis.URL())})
	}
	top.startNginx(t)
	return top
}

// nodeEnv returns a node's environment, with what must differ here.
func nodeEnv(given map[string]string, redis string) []string {
	env := []string{
		"TIDEMARK_REDIS=" + redis,
		"TIDEMARK_RETAIN=*=10000", // so that nothing these tests publish is trimmed
	}
	for name, value := range given {
		switch name {
		case "TIDEMARK_REDIS", "TIDEMARK_LISTEN", "TIDEMARK_INSECURE":
		default:
			env = append(env, name+"="+value)
		}
	}
	return env
}

// startNginx runs deploy/nginx.conf with other addresses and directories.
func (top *topology) startNginx(t *testing.T) {
	t.Helper()
	dir, addr := t.TempDir(), freeAddr(t)
	conf := string(readFile(t, "deploy/nginx.conf"))
	for old, new := range map[string]string{
		"listen 8080;":      "listen " + addr + ";",
		"server node1:8080": "server " + top.nodes["node1"].Addr,
		"server node2:8080": "server " + top.nodes["node2"].Addr,
		"http {\n":          "http {\n" + temporaryPaths(dir),
	} {
		if strings.Count(conf, old) != 1 {
			t.Fatalf("deploy/nginx.conf has %q %d times, want once", old, strings.Count(conf, old))
		}
		conf = strings.Replace(conf, old, new, 1)
	}
	name := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(name, []byte(head(dir)+conf), 0o600); err != nil {
		t.Fatal(err)
	}
	nginx := program.Start(t, program.Options{}, "nginx", "-p", dir, "-c", name, "-e", "stderr")
	t.Cleanup(func() { // in order, for its workers would outlive a kill
		nginx.Signal(syscall.SIGTERM)
		nginx.Wait()
	})
	nginx.Stderr.AwaitText(t, "start worker process")
	top.url = "http://" + addr
}

// head is what nginx must be told to run as part of a test.
func head(dir string) string {
	text := "daemon off;\nerror_log stderr notice;\npid " + dir + "/pid;\n"
	if os.Geteuid() == 0 {
		text = "user root;\n" + text // its directory is ours alone
	}
	return text
}

// temporaryPaths keeps nginx out of the directories of the machine's own.
func temporaryPaths(dir string) string {
	var text strings.Builder
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&text, "%s_temp_path %s/%s;\n", kind, dir, kind)
	}
	return text.String()
}

// freeAddr returns an address of loopback that nobody listens on just now.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
