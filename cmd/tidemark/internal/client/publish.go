package client

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
	"github.com/tidemark/tidemark/streams"
)

// Publish is the publish command.
type Publish struct {
	remote
	Room       room               `arg:"" help:"Room to publish to."`
	Data       string             `arg:"" optional:"" help:"Data of the event, as JSON. Without it, or with -, each line of standard input is the data of one event."`
	Type       string             `default:"message" placeholder:"TYPE" help:"Type of the events (default ${default})."`
	Text       bool               `help:"Treat the data, or each line, as plain text and send it as a JSON string."`
	Key        string             `placeholder:"KEY" help:"Idempotency key. Repeating the command with the same key stores the event only once. Lines use the keys KEY-1, KEY-2 and so on. Default: a new key for each run."`
	Durability streams.Durability `placeholder:"LEVEL" help:"Guarantee to wait for before an id is printed: logged, replicated or fsynced (default: the server's)."`
	Timeout    time.Duration      `default:"30s" placeholder:"TIME" help:"How long to retry while the server is unreachable or can't store the event. Retries never store it twice (default ${default})."`
}

// Help returns the text of --help below the usage line.
func (Publish) Help() string {
	return `Publishes one event and prints its id. A printed id means that the event is in the log.

    tidemark publish lobby '{"text":"hi"}'
    tidemark publish lobby --text 'hello, all'          plain text, sent as a JSON string
    tidemark publish lobby --type joined '{"user":"ann"}'

Without DATA, or with -, each line of standard input is one event. Lines are published in order as they arrive; empty lines are skipped. A line that can't be published is reported with its number, the other lines are published, and the exit code is 1. The ids go to standard output; a terminal shows a progress line instead.

    tidemark publish lobby < events.jsonl
    journalctl -f | tidemark publish log --text

Data that is not JSON is refused unless you give --text. Otherwise 12 would silently become a number, and 12a a string.`
}

// Run publishes the data, or the lines of standard input.
func (c *Publish) Run(std cli.Stdio) error {
	if c.Timeout <= 0 {
		return cli.UsageError("--timeout: want more than 0")
	}
	eventType, err := streams.ParseType(c.Type)
	if err != nil {
		return cli.UsageError("--type: " + err.Error())
	}
	p := &publisher{
		client: c.client(), room: string(c.Room), eventType: eventType, text: c.Text,
		key: cmp.Or(c.Key, rand.Text()), durability: c.Durability, limit: c.Timeout,
	}
	if c.Data == "" || c.Data == "-" {
		return advise(publishLines(context.Background(), p, std))
	}
	data, err := p.data([]byte(c.Data))
	if err != nil {
		return err
	}
	p.onRetry = func(err error) {
		fmt.Fprintf(std.Err, "tidemark: %s; retrying for up to %v\n", cli.OneLine(cli.ErrorText(err)), c.Timeout)
	}
	id, err := p.publish(context.Background(), data)
	if err != nil {
		return advise(err)
	}
	_, err = fmt.Fprintln(std.Out, id)
	return err
}
