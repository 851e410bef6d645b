package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tidemark/tidemark/streams"
)

type publishCmd struct {
	remote
	Room       room               `arg:"" help:"Room to publish into."`
	Data       string             `arg:"" optional:"" help:"The event's data, JSON. Without it, or with -, each line of standard input is the data of one event."`
	Type       string             `default:"message" placeholder:"TYPE" help:"Type of the events (default ${default})."`
	Text       bool               `help:"Take the data, or each line, as plain text: it becomes a JSON string."`
	Key        string             `placeholder:"KEY" help:"Idempotency key: repeating the command with it stores the event once. Lines get KEY-1, KEY-2 and so on. Default: a new one each time."`
	Durability streams.Durability `placeholder:"LEVEL" help:"How safe each event must be before its id is printed: logged, replicated or fsynced (default: as the server says)."`
	Timeout    time.Duration      `default:"30s" placeholder:"TIME" help:"How long to try again, safely, while the server can't be reached or can't store (default ${default})."`
}

func (publishCmd) Help() string {
	return `Publishes one event and prints its id. When this has happened, the event is in the log.

    tidemark publish lobby '{"text":"hi"}'
    tidemark publish lobby --text 'hello, all'          plain text, sent as a JSON string
    tidemark publish lobby --type joined '{"user":"ann"}'

Without DATA, or with -, each line of standard input is one event, published in order as the lines come; empty lines are left out. A line that can't be published is reported with its number, the others are published, and the exit code is 1. The ids go to standard output; on a terminal there is a progress line instead.

    tidemark publish lobby < events.jsonl
    journalctl -f | tidemark publish log --text

What is not JSON is refused without --text: otherwise 12 would be a number and 12a a text, and nobody would have said so.`
}

func (c *publishCmd) Run(std stdio) error {
	if c.Timeout <= 0 {
		return usageError("--timeout: want more than 0")
	}
	kind, err := streams.ParseType(c.Type)
	if err != nil {
		return usageError("--type: " + err.Error())
	}
	p := &publisher{client: c.client(), room: string(c.Room), kind: kind, text: c.Text, key: cmp.Or(c.Key, rand.Text()), safe: c.Durability, limit: c.Timeout}
	if c.Data == "" || c.Data == "-" {
		return publishLines(context.Background(), p, std)
	}
	data, err := p.data([]byte(c.Data))
	if err != nil {
		return err
	}
	p.failed = func(err error) {
		fmt.Fprintf(std.err, "tidemark: %s; trying again for %v\n", oneLine(withoutSecrets(err)), c.Timeout)
	}
	id, err := p.publish(context.Background(), data)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(std.out, id)
	return err
}

// A publisher publishes into one room. It repeats what failed for now, under
// the same keys, so that nothing is stored twice.
type publisher struct {
	client *client
	room   string
	kind   string
	text   bool
	key    string
	safe   streams.Durability // zero: as the server says
	limit  time.Duration      // for one request and its repetitions
	failed func(error)        // told once why an event takes longer; nil: nobody is
}

// data returns what to send for what was given.
func (p *publisher) data(given []byte) (json.RawMessage, error) {
	if p.text {
		return json.Marshal(string(given))
	}
	if !json.Valid(given) {
		return nil, usageError(fmt.Sprintf("not JSON: %.40q; with --text it is sent as a string", given))
	}
	return given, nil
}

// publish stores one event and returns its id.
func (p *publisher) publish(ctx context.Context, data json.RawMessage) (id string, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.limit)
	defer cancel()
	message := struct {
		Type       string             `json:"type"`
		Data       json.RawMessage    `json:"data"`
		Durability streams.Durability `json:"durability,omitempty"`
	}{p.kind, data, p.safe}
	var stored struct{ ID string }
	told := p.failed == nil
	err = persist(ctx, func() error {
		err := p.client.post(ctx, p.client.at(nil, "v1", "rooms", p.room, "events"), p.key, message, &stored)
		if !told && repeatable(err) {
			told = true
			p.failed(err)
		}
		return err
	})
	return stored.ID, err
}

// A line is one event of a batch, in the server's form, and what became of it.
type line struct {
	Room       string             `json:"room"`
	Type       string             `json:"type"`
	Data       json.RawMessage    `json:"data"`
	Key        string             `json:"key"`
	Durability streams.Durability `json:"durability,omitempty"`

	number int    // in the input, from 1
	id     string // "" until it is stored
	err    error  // why not, if not
}

// line returns the event of a line of input.
func (p *publisher) line(number int, text []byte) *line {
	l := &line{Room: p.room, Type: p.kind, Key: fmt.Sprintf("%s-%d", p.key, number), Durability: p.safe, number: number}
	l.Data, l.err = p.data(text)
	return l
}

// publishBatch stores lines, each for itself, and notes in each what became of it.
// The error says why some are still unsettled.
func (p *publisher) publishBatch(ctx context.Context, lines []*line) error {
	ctx, cancel := context.WithTimeout(ctx, p.limit)
	defer cancel()
	return persist(ctx, func() error {
		pending := unsettled(lines)
		if len(pending) == 0 {
			return nil
		}
		return p.try(ctx, pending)
	})
}

// unsettled returns the lines that are worth sending, again or for the first time.
func unsettled(lines []*line) []*line {
	var pending []*line
	for _, l := range lines {
		if l.id == "" && (l.err == nil || temporary(l.err)) {
			pending = append(pending, l)
		}
	}
	return pending
}

// try sends a batch once. A temporary error says that some are still pending.
func (p *publisher) try(ctx context.Context, lines []*line) error {
	var answer struct {
		Results []struct {
			ID    string
			Error *struct {
				Status        int
				Title, Detail string
			}
		}
	}
	message := map[string][]*line{"events": lines}
	if err := p.client.post(ctx, p.client.at(nil, "v1", "events"), "", message, &answer); err != nil {
		return err
	}
	if len(answer.Results) != len(lines) {
		return fmt.Errorf("answer of %s: %d results for %s", p.client.name, len(answer.Results), plural(len(lines), "event"))
	}
	var again error
	for i, r := range answer.Results {
		l := lines[i]
		l.id, l.err = r.ID, nil
		if r.Error != nil {
			l.err = &statusError{status: r.Error.Status, text: r.Error.Title + ": " + r.Error.Detail}
			if temporary(l.err) {
				again = l.err
			}
		}
	}
	return again
}
