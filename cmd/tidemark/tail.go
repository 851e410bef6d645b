package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/tidemark/tidemark/streams"
)

const (
	// maxSilence is three of the server's keep-alives: a connection that says
	// nothing for that long is dead, even if nobody told this end.
	maxSilence = 45 * time.Second

	// defaultWait is the wait before a reconnect until the server names one;
	// maxWait bounds how far repeated failures stretch it.
	defaultWait = 2 * time.Second
	maxWait     = 30 * time.Second
)

// errSilent ends a connection that said nothing for maxSilence.
var errSilent = errors.New("it went silent")

type tailCmd struct {
	remote
	Room  room  `arg:"" help:"Room to follow."`
	Since since `xor:"start" placeholder:"WHERE" help:"Start here: earliest, an id, a time (RFC 3339) or a duration back (15m, 2d)."`
	Last  int   `xor:"start" placeholder:"N" help:"Start with the newest N events."`
	JSON  bool  `name:"json" help:"One JSON object on a line: events as in history, gaps as {\"gap\":{…}}."`
}

func (tailCmd) Help() string {
	return `Follows the room until Ctrl-C. When the connection breaks, or the server goes away, tail comes back by itself with the last id it saw and gets exactly what it missed. Where events may be missing (the room's cap has dropped them, or the log lost data) a line says so, in its place.

Events go to standard output, what happens to the connection to standard error.

    tidemark tail lobby                     what happens from now on
    tidemark tail lobby --last 10           the newest ten, then live
    tidemark tail lobby --since 15m         the last quarter of an hour, then live
    tidemark tail lobby --since earliest    all that is kept, then live
    tidemark tail lobby --json | jq .data`
}

func (c *tailCmd) Run(std stdio) error {
	if c.Last < 0 {
		return usageError("--last: want 1 or more")
	}
	ctx, stop := interruptible()
	defer stop()
	t := &tailer{client: c.client(), room: string(c.Room), query: url.Values{}, print: newPrinter(std, c.JSON), wait: defaultWait}
	t.say = func(format string, args ...any) { fmt.Fprintf(std.err, "tidemark: "+format+"\n", args...) }
	if c.Since != "" {
		t.query.Set("since", string(c.Since))
	}
	if c.Last > 0 {
		t.query.Set("last", strconv.Itoa(c.Last))
	}
	return t.run(ctx)
}

// A tailer follows one room over one connection after the other.
type tailer struct {
	client *client
	room   string
	query  url.Values // where the first connection starts
	print  *printer
	say    func(format string, args ...any)

	cursor string        // where the next connection goes on; "" before the first
	wait   time.Duration // before the next connection; the server names it
}

// run follows until ctx ends, which is no error, or coming back can't help.
func (t *tailer) run(ctx context.Context) error {
	failures := 0
	for {
		before := t.cursor
		err := t.follow(ctx)
		if ctx.Err() != nil {
			t.farewell()
			return nil
		}
		if t.cursor == "" || !temporary(err) {
			return err
		}
		if failures++; t.cursor != before {
			failures = 0
		}
		pause := min(t.wait<<min(failures, 4), max(t.wait, maxWait))
		t.say("connection lost (%s), back in %v", oneLine(err.Error()), pause.Round(time.Millisecond))
		if !sleep(ctx, pause) {
			t.farewell()
			return nil
		}
	}
}

func (t *tailer) farewell() {
	if t.cursor != "" {
		t.say("to go on from here: tidemark tail %s --since %s", t.room, t.cursor)
	}
}

// follow opens one connection and reads it to its end, which is always an error.
func (t *tailer) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	res, err := t.connect(ctx)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	silence := time.AfterFunc(maxSilence, func() { cancel(errSilent) })
	defer silence.Stop()
	for blocks := newBlockReader(res.Body); ; silence.Reset(maxSilence) {
		b, err := blocks.next()
		if err != nil {
			return cmp.Or(context.Cause(ctx), err)
		}
		if err := t.take(b); err != nil {
			return err
		}
	}
}

func (t *tailer) connect(ctx context.Context) (*http.Response, error) {
	query := t.query
	if t.cursor != "" {
		query = nil
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, t.client.at(query, "v1", "rooms", t.room, "events"), nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "text/event-stream")
	if t.cursor != "" {
		r.Header.Set("Last-Event-ID", t.cursor)
	}
	res, err := t.client.do(r)
	if err != nil {
		return nil, err
	}
	if kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")); kind != "text/event-stream" {
		res.Body.Close()
		return nil, permanent{fmt.Errorf("%s is no Tidemark server: it answered with %q, not with an event stream", t.client.name, kind)}
	}
	return res, nil
}

// take acts on a block, and only then moves the cursor: what was not written out
// comes again.
func (t *tailer) take(b block) error {
	if b.retry > 0 {
		t.wait = b.retry
	}
	if err := t.show(b); err != nil {
		return err
	}
	if b.hasID {
		t.cursor = b.id
	}
	return nil
}

func (t *tailer) show(b block) error {
	switch b.event {
	case "tidemark.open":
		t.opened(b)
	case "tidemark.live":
		t.caughtUp(b)
	case "tidemark.gap":
		return t.showGap(b)
	case "tidemark.error":
		return sentAway(b)
	default:
		if b.data != "" { // an id alone only moves the cursor
			return unwritten(t.print.event(eventOf(b)))
		}
	}
	return nil
}

func (t *tailer) showGap(b block) error {
	var g gap
	if err := json.Unmarshal([]byte(b.data), &g); err != nil {
		return permanent{fmt.Errorf("gap notice %q: %w", b.data, err)}
	}
	return unwritten(t.print.gap(g))
}

// unwritten marks a failure of the output, which a new connection does not mend.
func unwritten(err error) error {
	if err != nil {
		return permanent{err}
	}
	return nil
}

// opened tells of a connection that came back; the first speaks for itself.
func (t *tailer) opened(b block) {
	var where struct{ Node string }
	if json.Unmarshal([]byte(b.data), &where) == nil && t.cursor != "" {
		t.say("back, on node %q", where.Node)
	}
}

func (t *tailer) caughtUp(b block) {
	var done struct{ Replayed int }
	if json.Unmarshal([]byte(b.data), &done) == nil && t.cursor != "" && done.Replayed > 0 {
		t.say("%s replayed", plural(done.Replayed, "event"))
	}
}

// sentAway is the error of a connection that the server ends on purpose.
func sentAway(b block) error {
	var why struct{ Code, Detail string }
	_ = json.Unmarshal([]byte(b.data), &why) // the block itself says enough to act on
	return &statusError{status: http.StatusServiceUnavailable, text: cmp.Or(why.Detail, why.Code, "the server sent this connection away")}
}

func eventOf(b block) event {
	e := event{ID: b.id, Type: cmp.Or(b.event, streams.DefaultType), Data: json.RawMessage(b.data)}
	if id, err := streams.ParseID(b.id); err == nil {
		e.Time = id.Time()
	}
	return e
}
