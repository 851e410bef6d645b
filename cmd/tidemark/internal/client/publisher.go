package client

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
	"github.com/tidemark/tidemark/streams"
)

// A publisher publishes into one room. It retries temporary failures with the same
// idempotency keys, so that no event is stored twice.
type publisher struct {
	client     *client
	room       string
	eventType  string
	text       bool // data is plain text
	key        string
	durability streams.Durability // zero: the server's default
	limit      time.Duration      // for one request with its retries
	onRetry    func(error)        // called once, before the first retry of an event; may be nil
}

// data returns the JSON to send for the user's input.
func (p *publisher) data(input []byte) (json.RawMessage, error) {
	if p.text {
		return json.Marshal(string(input))
	}
	if !json.Valid(input) {
		return nil, cli.UsageError(fmt.Sprintf("the data is not JSON: %.40q: correct it, or send it as a string with --text", input))
	}
	return input, nil
}

// publish stores one event and returns its id.
func (p *publisher) publish(ctx context.Context, data json.RawMessage) (id string, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.limit)
	defer cancel()
	message := struct {
		Type       string             `json:"type"`
		Data       json.RawMessage    `json:"data"`
		Durability streams.Durability `json:"durability,omitempty"`
	}{p.eventType, data, p.durability}
	var stored struct{ ID string }
	reported := p.onRetry == nil
	err = retry(ctx, func() error {
		err := p.client.post(ctx, p.client.url(nil, "v1", "rooms", p.room, "events"), p.key, message, &stored)
		if !reported && retryable(err) {
			reported = true
			p.onRetry(err)
		}
		return err
	})
	return stored.ID, err
}

// A batchEvent is one event of a batch in the server's form, with its result.
type batchEvent struct {
	Room       string             `json:"room"`
	Type       string             `json:"type"`
	Data       json.RawMessage    `json:"data"`
	Key        string             `json:"key"`
	Durability streams.Durability `json:"durability,omitempty"`

	line int    // number of its line in the input, from 1
	id   string // "" until the event is stored
	err  error  // why it is not stored
}

// fromLine returns the event of an input line.
func (p *publisher) fromLine(number int, text []byte) *batchEvent {
	e := &batchEvent{Room: p.room, Type: p.eventType, Key: fmt.Sprintf("%s-%d", p.key, number), Durability: p.durability, line: number}
	e.Data, e.err = p.data(text)
	return e
}

// publishBatch stores events independently of each other and sets the result of each. It
// returns an error if some are still pending when its time is over.
func (p *publisher) publishBatch(ctx context.Context, events []*batchEvent) error {
	ctx, cancel := context.WithTimeout(ctx, p.limit)
	defer cancel()
	return retry(ctx, func() error {
		remaining := pending(events)
		if len(remaining) == 0 {
			return nil
		}
		return p.post(ctx, remaining)
	})
}

// pending returns the events that have not been sent yet or failed temporarily.
func pending(events []*batchEvent) []*batchEvent {
	var remaining []*batchEvent
	for _, e := range events {
		if e.id == "" && (e.err == nil || temporary(e.err)) {
			remaining = append(remaining, e)
		}
	}
	return remaining
}

// post sends a batch once. It returns a temporary error if some events are still pending.
func (p *publisher) post(ctx context.Context, events []*batchEvent) error {
	var answer struct {
		Results []struct {
			ID    string
			Error *struct {
				Status        int
				Title, Detail string
			}
		}
	}
	message := map[string][]*batchEvent{"events": events}
	if err := p.client.post(ctx, p.client.url(nil, "v1", "events"), "", message, &answer); err != nil {
		return err
	}
	if len(answer.Results) != len(events) {
		return fmt.Errorf("%s answered with %d results for %s", p.client.name, len(answer.Results), cli.Plural(len(events), "event"))
	}
	var again error
	for i, r := range answer.Results {
		e := events[i]
		e.id, e.err = r.ID, nil
		if r.Error != nil {
			e.err = &statusError{status: r.Error.Status, text: r.Error.Title + ": " + r.Error.Detail}
			if temporary(e.err) {
				again = e.err
			}
		}
	}
	return again
}
