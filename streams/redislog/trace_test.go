package redislog

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/redislog/internal/entry"
	"github.com/tidemark/tidemark/tests/redistest"
)

const aTrace = streams.Trace("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")

func traced(d streams.Draft) streams.Draft {
	d.Trace = aTrace
	return d
}

// For a node of an earlier version, a traced event looks like any other one: the entry is
// the same, and the only difference is one more message, which the node ignores.
func TestTraceForEarlierNodes(t *testing.T) {
	server := redistest.Shared(t)
	l := open(t, Options{URL: server.URL(), Prefix: newPrefix()})
	p := l.partition("r")
	ears := server.Client().SSubscribe(t.Context(), p.Channel("r"))
	defer ears.Close()
	if _, err := ears.Receive(t.Context()); err != nil { // the confirmation
		t.Fatal(err)
	}

	before := put(t, l, draft("r", `1`))
	with := put(t, l, traced(draft("r", `2`)))
	logged := server.Client().XRange(t.Context(), p.Stream("r"), entry.Position(with), entry.Position(with)).Val()
	want := redis.XMessage{ID: entry.Position(with), Values: map[string]any{"prev": entry.Position(before), "type": "message", "data": "2"}}
	if len(logged) != 1 || len(logged[0].Values) != 3 || logged[0].Values["prev"] != want.Values["prev"] || logged[0].Values["data"] != "2" {
		t.Errorf("the log has %v, want %v", logged, want)
	}
	for _, want := range []string{
		entry.Position(before) + " " + entry.Position(l.origin(t, before)) + " message 1",
		"trace " + entry.Position(with) + " " + string(aTrace),
		entry.Position(with) + " " + entry.Position(before) + " message 2",
	} {
		if m, err := ears.ReceiveMessage(t.Context()); err != nil || m.Payload != want {
			t.Errorf("published: %v, %v; want %q", m, err, want)
		}
	}
	for _, key := range server.Client().Keys(t.Context(), p.Tag()+"*").Val() {
		if strings.Contains(key, "trace") {
			t.Errorf("unexpected key %s", key)
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
	t.Fatalf("the room has no event %s", first)
	return streams.ID{}
}

// Foreign trace messages do not stop events, and give no event a wrong trace.
func TestForeignTraces(t *testing.T) {
	server := redistest.Shared(t)
	l := open(t, Options{URL: server.URL(), Prefix: newPrefix()})
	feed := follow(t, l, "r")
	for _, message := range []string{
		"trace ", "trace 1-1", "trace 1-1 ", "trace x " + string(aTrace), "trace 1-1 " + string(aTrace), "trace 1-1 " + string(aTrace) + "0",
		"trace 0-0 " + string(aTrace), strings.Repeat("trace ", 1000),
	} {
		if err := server.Client().SPublish(t.Context(), l.partition("r").Channel("r"), message).Err(); err != nil {
			t.Fatal(err)
		}
		id := put(t, l, draft("r", `1`))
		if e := next(t, feed).Event; e == nil || e.ID != id || e.Trace != "" {
			t.Errorf("after %.80q the feed delivered %+v", message, e)
		}
	}
	id := put(t, l, traced(draft("r", `1`)))
	if e := next(t, feed).Event; e == nil || e.ID != id || e.Trace != aTrace {
		t.Errorf("the feed delivered %+v, want the trace %s", e, aTrace)
	}
}
