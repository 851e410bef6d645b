package scenarios_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/redistest"
)

var (
	buildOnce sync.Once
	buildDir  string // removed by TestMain
	buildErr  error
)

// program returns the path of the real program, built for this run of the tests.
func program(t *testing.T) string {
	t.Helper()
	buildOnce.Do(func() {
		if buildDir, buildErr = os.MkdirTemp("", "tidemark-scenarios-"); buildErr != nil {
			return
		}
		build := exec.Command("go", "build", "-o", buildDir, "github.com/tidemark/tidemark/cmd/tidemark")
		if out, err := build.CombinedOutput(); err != nil {
			buildErr = fmt.Errorf("build the program: %w\n%s", err, out)
		}
	})
	if buildErr != nil {
		t.Fatal(buildErr)
	}
	return filepath.Join(buildDir, "tidemark")
}

// A process is the real program, serving.
type process struct {
	addr string
	cmd  *exec.Cmd
	said chan struct{} // closed when its output has ended
}

// serve starts the program with further flags, and returns once it listens. It is
// killed when the test ends, if not before.
func serve(t *testing.T, flags ...string) *process {
	t.Helper()
	p := &process{said: make(chan struct{})}
	p.cmd = exec.Command(program(t), append([]string{
		"serve", "--listen", "127.0.0.1:0", "--log-format", "json", "--retain", "*=1000000,24h",
	}, flags...)...)
	out, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.kill)
	listens := make(chan string, 1)
	go func() {
		defer close(p.said)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			var said struct{ Msg, Address string }
			if json.Unmarshal(lines.Bytes(), &said) == nil && said.Address != "" {
				select {
				case listens <- said.Address:
				default: // it was said before
				}
			}
			if strings.Contains(lines.Text(), "panic") {
				t.Errorf("the program said: %s", lines.Text())
			}
		}
	}()
	select {
	case p.addr = <-listens:
	case <-p.said:
		t.Fatalf("the program ended: %v", p.cmd.Wait())
	case <-time.After(patience):
		t.Fatal("the program does not listen")
	}
	return p
}

// kill ends the program with SIGKILL and waits for it. Killing again does nothing.
func (p *process) kill() {
	if p.cmd.ProcessState != nil {
		return
	}
	_ = p.cmd.Process.Kill()
	<-p.said
	_ = p.cmd.Wait()
}

const (
	kills      = 6   // of one test
	publishers = 8   // at once
	perLife    = 150 // events acknowledged before the next kill
)

// An attempt is a publish whose answer did not come.
type attempt struct{ data, key string }

// The program dies with SIGKILL while publishers hammer it. They repeat what was
// not answered with the same key: one event, one id. What was answered is there,
// once, and the followers, who come back with their cursors, have heard just
// what the log has.
func TestScenario01KilledBetweenLogAndAnswer(t *testing.T) {
	eachLife(t, func(t *testing.T, log string, over transport) { killAndRepeat(t, log, over, true) })
}

// The same without keys: every 201 is there, once. What was not answered is there
// or not.
func TestKillNineWhilePublishing(t *testing.T) {
	eachLife(t, func(t *testing.T, log string, over transport) { killAndRepeat(t, log, over, false) })
}

// eachLife is matrix for the program, which has no certificate here.
func eachLife(t *testing.T, test func(t *testing.T, log string, over transport)) {
	eachLog(t, func(t *testing.T, log string) {
		eachOf(t, func(t *testing.T, over transport) { test(t, log, over) }, overSSE, overWebSocket, overH2C)
	})
}

func killAndRepeat(t *testing.T, log string, over transport, keyed bool) {
	flags := []string{"--data", t.TempDir()}
	if log == onRedis {
		flags = []string{"--redis", redistest.Shared(t).URL(), "--redis-prefix", fmt.Sprint("killed", worlds.Add(1))}
	}
	w := &world{t: t, log: log, http: newHTTP()}
	t.Cleanup(w.http.CloseIdleConnections)
	follower := newClient(t, over, "room")
	unanswered := make([]*attempt, publishers)
	cut := 0
	p := serve(t, flags...)
	for life := range kills {
		follower.connect(address{plain: p.addr})
		acknowledged := make(chan struct{}, publishers*perLife)
		var running sync.WaitGroup
		for i := range publishers {
			running.Go(func() {
				unanswered[i] = w.hammer(p.addr, fmt.Sprintf("%d/%d", life, i), unanswered[i], keyed, acknowledged)
			})
		}
		for range perLife {
			select {
			case <-acknowledged:
			case <-time.After(patience):
				t.Error("nothing is acknowledged")
			}
		}
		p.kill()
		running.Wait()
		for _, a := range unanswered {
			if a != nil {
				cut++
			}
		}
		p = serve(t, flags...)
	}
	for i, a := range unanswered {
		if a != nil && keyed {
			w.repeat(p.addr, *a)
			unanswered[i] = nil
		}
	}
	all := w.history(p.addr, "room")
	t.Logf("%d events logged, %d acknowledged, %d publishes cut by %d kills, of which %d were found logged",
		len(all), len(w.truth.of("room")), cut, kills, w.found.Load())
	if cut == 0 {
		t.Error("no publish was cut: the test tests nothing")
	}
	kept := all
	if !keyed { // events that nobody was told of may be there
		kept = present(all, w.truth.of("room"))
		noneTwice(t, all)
	}
	if d := follower.difference(w.truth.of("room"), asHeard(kept)); !d.OK() {
		t.Errorf("the log against what was acknowledged: %v", d)
	}
	if len(all) == 0 {
		t.Fatal("the log has nothing at all")
	}
	follower.connect(address{plain: p.addr})
	follower.awaitEvent(all[len(all)-1])
	follower.exactly(after(all, follower.all()[0].cursor))
	again := newClient(t, over, "room").from("earliest")
	again.connect(address{plain: p.addr})
	again.awaitEvents(len(all))
	again.exactly(all)
}

// present returns those of events that are in wanted.
func present(events, wanted []sent) []sent {
	known := make(map[sent]bool)
	for _, s := range wanted {
		known[s] = true
	}
	var both []sent
	for _, s := range events {
		if known[s] {
			both = append(both, s)
		}
	}
	return both
}

// noneTwice fails the test if two events have the same data: one was stored twice.
func noneTwice(t *testing.T, events []sent) {
	t.Helper()
	seen := make(map[string]string)
	for _, s := range events {
		if first, twice := seen[s.data]; twice {
			t.Errorf("%q is stored twice, as %s and %s", s.data, first, s.id)
		}
		seen[s.data] = s.id
	}
}

// hammer publishes, after pending if there is such a thing, until the node dies,
// and returns what was not answered then.
func (w *world) hammer(addr, name string, pending *attempt, keyed bool, acknowledged chan<- struct{}) *attempt {
	if pending != nil && keyed && !w.repeat(addr, *pending) {
		return pending
	}
	for i := 0; ; i++ {
		next := attempt{data: fmt.Sprintf("%s/%d", name, i)}
		if keyed {
			next.key = "key " + next.data
		}
		a, err := w.try(addr, "room", next.data, next.key)
		if err != nil {
			return &next
		}
		if a.status != 201 {
			w.t.Errorf("publish: %+v", a)
			return nil
		}
		w.truth.add(sent{"room", a.id, next.data})
		select {
		case acknowledged <- struct{}{}:
		default: // nobody counts any more
		}
	}
}

// repeat publishes an attempt until it is answered twice, with one id. It reports
// false if the node died meanwhile.
func (w *world) repeat(addr string, a attempt) bool {
	first, err := w.try(addr, "room", a.data, a.key)
	if err != nil {
		return false
	}
	again, err := w.try(addr, "room", a.data, a.key)
	if err != nil {
		return false
	}
	if first.replayed {
		w.found.Add(1)
	}
	if first.id == "" || again.id != first.id || !again.replayed {
		w.t.Errorf("%q was answered %+v, then %+v", a.key, first, again)
	}
	w.truth.add(sent{"room", first.id, a.data})
	return true
}
