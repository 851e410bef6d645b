package redislog

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/tests/redistest"
)

const aTrace = streams.Trace("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")

func traced(d streams.Draft) streams.Draft {
	d.Trace = aTrace
	return d
}

// Nodes of the version before read what is logged, and hear what is live, of an event
// with a trace: but for one message more, which they ignore, all is as without.
func TestTraceForEarlierNodes(t *testing.T) {
	server := redistest.Shared(t)
	l := open(t, Options{URL: server.URL(), Prefix: newPrefix()})
	p := l.partition("r")
	ears := server.Client().SSubscribe(t.Context(), p.channel("r"))
	defer ears.Close()
	if _, err := ears.Receive(t.Context()); err != nil { // that it listens
		t.Fatal(err)
	}

	before := put(t, l, draft("r", `1`))
	with := put(t, l, traced(draft("r", `2`)))
	entry := server.Client().XRange(t.Context(), p.stream("r"), position(with), position(with)).Val()
	want := redis.XMessage{ID: position(with), Values: map[string]any{"prev": position(before), "type": "message", "data": "2"}}
	if len(entry) != 1 || len(entry[0].Values) != 3 || entry[0].Values["prev"] != want.Values["prev"] || entry[0].Values["data"] != "2" {
		t.Errorf("the log has %v, want %v", entry, want)
	}
	for _, want := range []string{
		position(before) + " " + position(l.origin(t, before)) + " message 1",
		"trace " + position(with) + " " + string(aTrace),
		position(with) + " " + position(before) + " message 2",
	} {
		if m, err := ears.ReceiveMessage(t.Context()); err != nil || m.Payload != want {
			t.Errorf("published is %v, %v; want %q", m, err, want)
		}
	}
	for _, key := range server.Client().Keys(t.Context(), p.tag+"*").Val() {
		if strings.Contains(key, "trace") {
			t.Errorf("there is a key %s", key)
		}
	}
}

// origin returns the position before the first event of its room.
func (l *Log) origin(t *testing.T, first streams.ID) streams.ID {
	t.Helper()
	for _, e := range all(t, l, "r") {
		if e.ID == first {
			return e.Prev
		}
	}
	t.Fatalf("event %s is not there", first)
	return streams.ID{}
}

// Whatever somebody publishes as a trace, events come, and with none that is not theirs.
func TestForeignTraces(t *testing.T) {
	server := redistest.Shared(t)
	l := open(t, Options{URL: server.URL(), Prefix: newPrefix()})
	feed := follow(t, l, "r")
	for _, message := range []string{
		"trace ", "trace 1-1", "trace 1-1 ", "trace x " + string(aTrace), "trace 1-1 " + string(aTrace), "trace 1-1 " + string(aTrace) + "0",
		"trace 0-0 " + string(aTrace), strings.Repeat("trace ", 1000),
	} {
		if err := server.Client().SPublish(t.Context(), l.partition("r").channel("r"), message).Err(); err != nil {
			t.Fatal(err)
		}
		id := put(t, l, draft("r", `1`))
		if e := next(t, feed).Event; e == nil || e.ID != id || e.Trace != "" {
			t.Errorf("after %.80q comes %+v", message, e)
		}
	}
	id := put(t, l, traced(draft("r", `1`)))
	if e := next(t, feed).Event; e == nil || e.ID != id || e.Trace != aTrace {
		t.Errorf("then comes %+v, want the trace %s", e, aTrace)
	}
}

// Whatever is published as a trace, it is one of an event, or an error and nothing.
func FuzzParseNoted(f *testing.F) {
	f.Add("trace 12-1 " + string(aTrace))
	f.Add("trace 12-1")
	f.Add("trace ")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := parseNoted(1, s)
		if err != nil && n != (noted{}) {
			t.Errorf("%q reads as %+v, %v", s, n, err)
		}
		if again, err2 := parseNoted(1, traceMark+position(n.id)+" "+string(n.trace)); err == nil && (err2 != nil || again != n) {
			t.Errorf("%q reads as %+v, and that as %+v, %v", s, n, again, err2)
		}
	})
}
