package client

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
	"github.com/tidemark/tidemark/streams"
)

// An event is the JSON form of an event, as REST and --json use it.
type event struct {
	ID   string          `json:"id"`
	Type string          `json:"type"`
	Data json.RawMessage `json:"data"`
	Time time.Time       `json:"time"`
}

// A gap notice tells where events may be missing. With --json it is a line {"gap":{…}} at
// that place.
type gap struct {
	Room   string `json:"room"`
	After  string `json:"after"`
	Before string `json:"before"`
	Reason string `json:"reason"`
}

// An eventPrinter prints events and gap notices, one per line.
type eventPrinter struct{ *cli.Printer }

func (p eventPrinter) event(e event) error {
	if p.JSON {
		return p.Object(e)
	}
	kind := ""
	if e.Type != streams.DefaultType {
		kind = e.Type + " "
	}
	stamp := p.Paint("2", e.Time.Local().Format("2006-01-02 15:04:05.000")+" "+e.ID)
	_, err := fmt.Fprintf(p.Out, "%s %s%s\n", stamp, p.Paint("36", kind), e.Data)
	return err
}

func (p eventPrinter) gap(g gap) error {
	if p.JSON {
		return p.Object(map[string]gap{"gap": g})
	}
	text := fmt.Sprintf("--- events may be missing here (%s): after %s, before %s ---", g.Reason, g.After, g.Before)
	_, err := fmt.Fprintln(p.Out, p.Paint("33", text))
	return err
}
