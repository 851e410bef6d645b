package scenarios_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/internal/follow"
	"github.com/tidemark/tidemark/tests/internal/wait"
	"github.com/tidemark/tidemark/tests/program"
	"github.com/tidemark/tidemark/tests/redistest"
)

// serve starts the program with further flags, and returns once it listens. It ends with
// the test, which fails if the program has reported a panic.
func serve(t *testing.T, flags ...string) *program.Server {
	t.Helper()
	s := tidemark.Serve(t, program.Options{}, append([]string{"--retain", "*=1000000,24h"}, flags...)...)
	t.Cleanup(func() {
		s.Kill()
		for line := range strings.Lines(s.Stderr.String()) {
			if strings.Contains(line, "panic") {
				t.Errorf("the program reported: %s", line)
			}
		}
	})
	return s
}

const (
	kills      = 6   // of one test
	publishers = 8   // at once
	perLife    = 150 // events acknowledged before the next kill
)

// An attempt is a publish that was not answered.
type attempt struct{ data, key string }

// The program is killed with SIGKILL while publishers publish at full speed. They repeat
// unanswered events with the same key: each is stored once, with one id. Every acknowledged
// event is in the log once, and followers that return with their cursors have received
// exactly the log.
func TestScenario01KilledBetweenLogAndAnswer(t *testing.T) {
	eachLife(t, func(t *testing.T, log string, over follow.Transport) { killAndRepeat(t, log, over, true) })
}

// The same without keys: every acknowledged event is in the log once. Unanswered events may
// be there or not.
func TestKillNineWhilePublishing(t *testing.T) {
	eachLife(t, func(t *testing.T, log string, over follow.Transport) { killAndRepeat(t, log, over, false) })
}

// eachLife runs a test on each log and transport of the program, which has no certificate
// here.
func eachLife(t *testing.T, test func(t *testing.T, log string, over follow.Transport)) {
	eachLog(t, func(t *testing.T, log string) {
		eachOf(t, func(t *testing.T, over follow.Transport) { test(t, log, over) }, follow.SSE, follow.WebSocket, follow.H2C)
	})
}

func killAndRepeat(t *testing.T, log string, over follow.Transport, keyed bool) {
	flags := []string{"--h2c", "--data", t.TempDir()}
	if log == onRedis {
		flags = []string{"--h2c", "--redis", redistest.Shared(t).URL(), "--redis-prefix", fmt.Sprint("killed", systems.Add(1))}
	}
	w := &system{t: t, log: log, http: newHTTP()}
	t.Cleanup(w.http.CloseIdleConnections)
	follower := newClient(t, over, "room")
	unanswered := make([]*attempt, publishers)
	cut := 0
	p := serve(t, flags...)
	for life := range kills {
		follower.connect(address{plain: p.Addr})
		acknowledged := make(chan struct{}, publishers*perLife)
		var running sync.WaitGroup
		for i := range publishers {
			running.Go(func() {
				unanswered[i] = w.publishUntilCut(p.Addr, fmt.Sprintf("%d/%d", life, i), unanswered[i], keyed, acknowledged)
			})
		}
		for range perLife {
			select {
			case <-acknowledged:
			case <-time.After(wait.Limit):
				t.Error("nothing is acknowledged")
			}
		}
		p.Kill()
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
			w.repeat(p.Addr, *a)
			unanswered[i] = nil
		}
	}
	all := w.history(p.Addr, "room")
	t.Logf("%d events logged, %d acknowledged, %d publishes cut by %d kills, of which %d were found logged",
		len(all), len(w.truth.of("room")), cut, kills, w.found.Load())
	if cut == 0 {
		t.Error("no publish was cut: the test proves nothing")
	}
	kept := all
	if !keyed { // unacknowledged events may be in the log
		kept = present(all, w.truth.of("room"))
		noneTwice(t, all)
	}
	if d := follower.difference(w.truth.of("room"), asHeard(kept)); !d.OK() {
		t.Errorf("the log compared with the acknowledged events: %v", d)
	}
	if len(all) == 0 {
		t.Fatal("the log has nothing at all")
	}
	follower.connect(address{plain: p.Addr})
	follower.awaitEvent(all[len(all)-1])
	follower.exactly(after(all, follower.all()[0].Cursor))
	again := newClient(t, over, "room").from("earliest")
	again.connect(address{plain: p.Addr})
	again.awaitEvents(len(all))
	again.exactly(all)
}

// present returns the events that are also in wanted.
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

// noneTwice fails the test if two events have the same data, because one was then stored
// twice.
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

// publishUntilCut publishes at full speed, beginning with pending unless it is nil, until the node
// dies. It returns the unanswered attempt.
func (w *system) publishUntilCut(addr, name string, pending *attempt, keyed bool, acknowledged chan<- struct{}) *attempt {
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
		default: // the test has counted enough
		}
	}
}

// repeat publishes an attempt until it has two answers, which must have one id. It returns
// false if the node dies meanwhile.
func (w *system) repeat(addr string, a attempt) bool {
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
