package redistest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// A starter starts one Redis with arguments of redis-server.
type starter func(args []string) (backend, error)

// A choice is how this test binary starts Redis.
type choice struct {
	start  starter
	source string
	err    error // neither way works; says what to install
}

// choose is the only state that outlives a test: asking Docker takes a second, and all tests
// of a binary should use the same Redis.
var choose = sync.OnceValue(func() choice {
	switch want := os.Getenv("TIDEMARK_TEST_REDIS"); want {
	case "container":
		return container()
	case "process":
		return process("")
	case "":
	default:
		return choice{err: fmt.Errorf("TIDEMARK_TEST_REDIS is %q, want container or process", want)}
	}
	c := container()
	if c.err == nil {
		return c
	}
	return process(c.err.Error())
})

// Source describes the Redis that the tests of this binary use.
func Source() string {
	c := choose()
	if c.err != nil {
		return "no Redis: " + c.err.Error()
	}
	return c.source
}

// container chooses containers after it has started one as a trial: an engine that answers
// may still be unable to pull or run the image.
func container() choice {
	if err := dockerAnswers(); err != nil {
		return choice{err: err}
	}
	b, err := startContainer(nil)
	if err != nil {
		return choice{err: fmt.Errorf("container %s: %w", image(), err)}
	}
	b.close()
	return choice{start: startContainer, source: "container " + image() + " via Docker"}
}

// process chooses processes; why says why containers do not work.
func process(why string) choice {
	if err := processWorks(); err != nil {
		return choice{err: err}
	}
	source := "redis-server " + processVersion(program) + " as a process"
	if why != "" {
		source += " (no container: " + firstLine(why) + ")"
	}
	return choice{start: startArgs, source: source}
}

// report adds a line to the file TIDEMARK_TEST_REDIS_REPORT, once, that this binary has
// started a Redis. go test does not show the output of a package that passes.
var report = sync.OnceFunc(func() {
	name := os.Getenv("TIDEMARK_TEST_REDIS_REPORT")
	if name == "" {
		return
	}
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = fmt.Fprintf(f, "%s: %s\n", filepath.Base(os.Args[0]), Source())
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "redistest:", err)
	}
})

func processWorks() error {
	if _, err := exec.LookPath(program); err != nil {
		return errors.New("these tests need Redis 7: start Docker, or install redis-server on the PATH (apt-get install redis-server, brew install redis)")
	}
	return nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
