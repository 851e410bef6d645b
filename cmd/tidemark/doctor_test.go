package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/admin"
	"github.com/tidemark/tidemark/tests/program"
	"github.com/tidemark/tidemark/tests/redistest"
)

// doctor prints its findings, the worst first, and exits with 1 if there is a problem.
func TestDoctor(t *testing.T) {
	t.Parallel()
	server := redistest.StartProcess(t, "--appendonly", "yes", "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
	stdout, stderr, code := tidemark.Run(t, program.Options{}, "doctor", "--redis", server.URL())
	if code != exitFailed || !strings.Contains(stderr, "1 problem") || len(lines(stderr)) != 1 {
		t.Errorf("exit code %d, want %d and the number of problems:\n%s", code, exitFailed, stderr)
	}
	for _, want := range []string{
		"problem eviction of " + server.Addr() + ": maxmemory-policy allkeys-lru\n        When its memory is full",
		"warning persistence of " + server.Addr() + ": appendonly yes, appendfsync everysec\n",
		"ok      permissions: ",
		"1 problem, 1 warning, ",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in\n%s", want, stdout)
		}
	}
	if !strings.HasPrefix(stdout, "problem ") {
		t.Errorf("the worst finding is not the first:\n%s", stdout)
	}
	for _, line := range lines(stdout) {
		if strings.HasPrefix(line, "        ") && len(line) > admin.TextWidth {
			t.Errorf("a line of %d characters: %q", len(line), line)
		}
	}
	if n := server.Client().DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("doctor left %d keys behind", n)
	}

	if err := server.Client().ConfigSet(t.Context(), "maxmemory-policy", "noeviction").Err(); err != nil {
		t.Fatal(err)
	}
	config := configure(t, "redis: "+server.URL()+"\nlisten: 127.0.0.1:1\n") // the file of a node
	if out := tidemark.Must(t, program.Options{}, "doctor", "--config", config); !strings.Contains(out, "0 problems, 1 warning, ") {
		t.Errorf("with noeviction:\n%s", out)
	}
}

func TestDoctorJSON(t *testing.T) {
	t.Parallel()
	const secret = "hunter2SECRET"
	server := redistest.Start(t)
	url := strings.Replace(server.URL(), "://", "://u:"+secret+"@", 1)
	stdout, stderr, code := tidemark.Run(t, program.Options{}, "doctor", "--json", "--redis", url)
	var f struct{ Level, About, Read, Means, Do string }
	if err := json.Unmarshal([]byte(lines(stdout)[0]), &f); err != nil || code != exitFailed {
		t.Fatalf("exit code %d, %v\n%s", code, err, stdout)
	}
	if f.Level != "problem" || f.About != "connection" || !strings.Contains(f.Read, "WRONGPASS") || f.Means == "" || f.Do == "" {
		t.Errorf("got %+v", f)
	}
	if strings.Contains(stdout+stderr, secret) {
		t.Errorf("the password appears in\n%s%s", stdout, stderr)
	}
}

func TestDoctorUsage(t *testing.T) {
	t.Parallel()
	_, stderr, code := tidemark.Run(t, program.Options{}, "doctor")
	if code != exitUsage || !strings.Contains(stderr, "--redis") {
		t.Errorf("without --redis: exit code %d\n%s", code, stderr)
	}
	_, stderr, code = tidemark.Run(t, program.Options{}, "doctor", "--redis", "redis://h?x=1")
	if code != exitFailed || !strings.Contains(stderr, `unknown parameter "x"`) {
		t.Errorf("with a bad URL: exit code %d\n%s", code, stderr)
	}
}
