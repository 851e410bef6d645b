package client

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"time"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
	"github.com/tidemark/tidemark/internal/backoff"
	"github.com/tidemark/tidemark/streams"
)

const (
	// maxSilence is three keep-alive intervals of the server. A connection without any
	// data for that long is dead, even if TCP does not report it.
	maxSilence = 45 * time.Second

	// defaultWait is the delay before a reconnect until the server names one. maxWait
	// bounds the delay after repeated failures, unless the server names a longer one.
	defaultWait = 2 * time.Second
	maxWait     = 30 * time.Second
)

// errSilent ends a connection that was silent for maxSilence.
var errSilent = fmt.Errorf("the server sent nothing for %v", maxSilence)

// A tailer follows one room over a series of connections.
type tailer struct {
	client *client
	room   string
	start  url.Values // query of the first connection
	print  eventPrinter
	say    func(format string, args ...any)

	cursor string        // where the next connection resumes; "" before the first one
	wait   time.Duration // minimum delay before the next connection, named by the server
}

// run follows the room until ctx ends, which is not an error, or until a permanent error. An
// error before the first connection is permanent too, so that the user sees it at once.
func (t *tailer) run(ctx context.Context) error {
	delays := t.newBackoff()
	for {
		before := t.cursor
		err := t.follow(ctx)
		if ctx.Err() != nil {
			t.explainResume()
			return nil
		}
		if t.cursor == "" || !temporary(err) {
			return err
		}
		if t.cursor != before {
			delays = t.newBackoff()
		}
		delay := max(t.wait, delays.Next())
		t.say("connection lost (%s), reconnecting in %v", cli.OneLine(err.Error()), delay.Round(time.Millisecond))
		if !sleep(ctx, delay) {
			t.explainResume()
			return nil
		}
	}
}

func (t *tailer) newBackoff() backoff.Backoff {
	return backoff.Backoff{First: t.wait, Max: max(t.wait, maxWait)}
}

// explainResume tells the user how to continue after the last event.
func (t *tailer) explainResume() {
	if t.cursor != "" {
		t.say("to continue from here: tidemark tail %s --since %s", t.room, t.cursor)
	}
}

// follow opens one connection and reads it to its end. It always returns an error.
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
		if err := t.handle(b); err != nil {
			return err
		}
	}
}

func (t *tailer) connect(ctx context.Context) (*http.Response, error) {
	query := t.start
	if t.cursor != "" {
		query = nil
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, t.client.url(query, "v1", "rooms", t.room, "events"), nil)
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
		return nil, permanentError{fmt.Errorf("%s is not a Tidemark server: it answered with %q instead of an event stream; check --url", t.client.name, kind)}
	}
	return res, nil
}

// handle acts on a block and then moves the cursor. If printing fails, the cursor stays
// before the block, so that the event comes again.
func (t *tailer) handle(b block) error {
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
		t.showReconnect(b)
	case "tidemark.live":
		t.showReplayed(b)
	case "tidemark.gap":
		return t.showGap(b)
	case "tidemark.error":
		return serverError(b)
	default:
		if b.data != "" { // a block with only an id just moves the cursor
			return outputError(t.print.event(eventOf(b)))
		}
	}
	return nil
}

func (t *tailer) showGap(b block) error {
	var g gap
	if err := json.Unmarshal([]byte(b.data), &g); err != nil {
		return permanentError{fmt.Errorf("could not read the gap notice %q: %w", b.data, err)}
	}
	return outputError(t.print.gap(g))
}

// outputError marks a failure of the output as permanent: a new connection does not repair it.
func outputError(err error) error {
	if err != nil {
		return permanentError{err}
	}
	return nil
}

// showReconnect reports that a connection is open, except for the first one.
func (t *tailer) showReconnect(b block) {
	var server struct{ Node string }
	if json.Unmarshal([]byte(b.data), &server) == nil && t.cursor != "" {
		t.say("back, on node %q", server.Node)
	}
}

// showReplayed reports how many events a new connection has replayed, except for the first
// one.
func (t *tailer) showReplayed(b block) {
	var live struct{ Replayed int }
	if json.Unmarshal([]byte(b.data), &live) == nil && t.cursor != "" && live.Replayed > 0 {
		t.say("%s replayed", cli.Plural(live.Replayed, "event"))
	}
}

// serverError is the error with which the server ends a connection, for example while it
// drains. It is temporary.
func serverError(b block) error {
	var reason struct{ Code, Detail string }
	_ = json.Unmarshal([]byte(b.data), &reason) // the text is optional
	return &statusError{status: http.StatusServiceUnavailable, text: cmp.Or(reason.Detail, reason.Code, "the server closed this connection")}
}

func eventOf(b block) event {
	e := event{ID: b.id, Type: cmp.Or(b.event, streams.DefaultType), Data: json.RawMessage(b.data)}
	if id, err := streams.ParseID(b.id); err == nil {
		e.Time = id.Time()
	}
	return e
}
