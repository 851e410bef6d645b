package compose

import (
	"os"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/tidemark/tidemark/tests/internal/proxies"
	"github.com/tidemark/tidemark/tests/internal/testmain"
	"github.com/tidemark/tidemark/tests/program"
	"github.com/tidemark/tidemark/tests/redistest"
)

// tidemark is the real program.
var tidemark program.Program

func TestMain(m *testing.M) { os.Exit(testmain.WithProgram(m, &tidemark)) }

// A composition is the part of compose.yaml that these tests use.
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
	top.url = proxies.Nginx(t, proxies.Options{Nodes: []string{top.nodes["node1"].Addr, top.nodes["node2"].Addr}}).URL()
	return top
}

// nodeEnv returns a node's environment with the addresses of the test.
func nodeEnv(given map[string]string, redis string) []string {
	env := []string{
		"TIDEMARK_REDIS=" + redis,
		"TIDEMARK_RETAIN=*=10000", // keeps every event that these tests publish
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
