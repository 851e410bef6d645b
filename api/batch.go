package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/api/internal/wire"
	"github.com/tidemark/tidemark/streams"
)

// A result is the outcome of one event of a batch. An event for several rooms has one
// outcome per room in Rooms and no other field, unless it failed as a whole.
type result struct {
	ID         *streams.ID        `json:"id,omitempty"`
	Room       string             `json:"room,omitempty"`
	Replayed   bool               `json:"replayed,omitempty"`
	Durability streams.Durability `json:"durability,omitempty"`
	Error      *problem.Document  `json:"error,omitempty"`
	Rooms      []*result          `json:"rooms,omitempty"`
}

// draftMemory is the memory, in bytes, that an event takes in a batch besides its data, once
// per room: the draft, its copy in the log's queue, and the result.
const draftMemory = 1 << 10

// A batch holds the drafts to store and the result of each.
type batch struct {
	grant   *access.Grant
	memory  *bodyMemory
	rooms   int   // that its events may still name, also rooms that do not exist
	tooMany error // refuses a batch that names more
	drafts  []streams.Draft
	results []*result // of drafts, to be completed
}

// publishBatch stores the events of the body independently of each other.
func (p *publisher) publishBatch(c echo.Context) error {
	if p.life.isDraining() {
		return problem.ErrDraining
	}
	if err := problem.AuthorizeAny(grantOf(c), access.Publish); err != nil {
		return err
	}
	if c.Request().Header.Values(headerKey) != nil {
		return fmt.Errorf("%w: in a batch each event has its own, in the field \"key\"", streams.ErrKey)
	}
	if err := p.askRates(c); err != nil {
		return err
	}
	text, memory, err := p.readBody(c, p.opts.MaxBody)
	if err != nil {
		return err
	}
	defer memory.release()
	b := batch{
		grant: grantOf(c), memory: memory, rooms: p.opts.MaxBatch,
		tooMany: fmt.Errorf("%w: want at most %d; an event counts once per room", problem.ErrBatchTooLarge, p.opts.MaxBatch),
	}
	events, err := wire.ParseBatch(problem.ErrBody, text, p.opts.MaxBatch, b.tooMany)
	if err != nil {
		return err
	}
	results := make([]*result, len(events))
	for i, event := range events {
		if results[i], err = p.addEvent(&b, event); err != nil {
			return err
		}
	}
	if err := p.storeBatch(c, b); err != nil {
		return err
	}
	body, err := json.Marshal(struct {
		Results []*result `json:"results"`
	}{results})
	if err != nil {
		return fmt.Errorf("%w: %v", problem.ErrInternal, err)
	}
	memory.release() // the client may take long to accept the answer
	p.answers.writeJSON(c, http.StatusOK, append(body, '\n'))
	return nil
}

// askRates refuses a batch of a caller who may publish no event now, before its body is read.
// It takes no tokens: the number of events is not known yet.
func (p *publisher) askRates(c echo.Context) error {
	r := c.Request()
	decisions, err := p.rates.peek(r.Context(), p.rates.callerOf(r, grantOf(c)))
	if err != nil {
		setRateHeaders(c.Response().Header(), decisions)
	}
	return err
}

// addEvent adds an event to the batch and returns its result. If the event cannot be stored,
// the result is complete. An error refuses the whole batch.
func (p *publisher) addEvent(b *batch, text json.RawMessage) (*result, error) {
	b.memory.grow(draftMemory)
	event, err := wire.ParseObject(problem.ErrBody, text, "room", "rooms", "user", "type", "data", "key", "durability")
	if err != nil {
		return p.failed("", err), nil
	}
	names, several, err := b.targets(event)
	switch {
	case errors.Is(err, b.tooMany):
		return nil, err
	case err != nil:
		return p.failed("", err), nil
	}
	draft, fault := p.parseDraft(event)
	b.memory.grow((len(names)-1)*draftMemory + cap(draft.Data))
	if err := b.memory.err(); err != nil {
		return nil, err
	}
	if !several {
		return p.addDraft(b, names[0], draft, fault), nil
	}
	r := &result{}
	for _, name := range names {
		r.Rooms = append(r.Rooms, p.addDraft(b, name, draft, fault))
	}
	return r, nil
}

// parseDraft returns the draft that an event describes, without its room. The drafts of the
// event's rooms share its data. parseDraft refuses more white space than a single publish
// may have.
func (p *publisher) parseDraft(event wire.Object) (streams.Draft, error) {
	if n, most := len(event.Members["data"]), p.opts.maxEvent(); n > most {
		return streams.Draft{}, fmt.Errorf("%w: %d bytes with white space, want at most %d", streams.ErrTooBig, n, most)
	}
	return wire.ParseDraft("", event, p.opts.MaxData)
}

// targets returns the rooms of an event, which it names by exactly one of the members room,
// rooms and user. several means that it used rooms. If the batch names too many, targets
// returns tooMany.
func (b *batch) targets(event wire.Object) (names []string, several bool, err error) {
	names, several, err = targets(event, b.rooms, b.tooMany)
	if b.rooms -= len(names); b.rooms < 0 {
		err = b.tooMany
	}
	return names, several, err
}

// targets is batch.targets for an event that may name most rooms.
func targets(event wire.Object, most int, tooMany error) (names []string, several bool, err error) {
	room, byRoom, err := event.Text("room")
	if err != nil {
		return nil, false, err
	}
	user, byUser, err := event.Text("user")
	if err != nil {
		return nil, false, err
	}
	list, several, err := event.List("rooms", most, tooMany)
	if err != nil {
		return nil, false, err
	}
	switch {
	case byRoom && !byUser && !several:
		return []string{room}, false, nil
	case byUser && !byRoom && !several:
		inbox, err := streams.Inbox(user)
		return []string{string(inbox)}, false, err
	case several && !byRoom && !byUser:
		names, err = roomNames(list)
		return names, true, err
	}
	return nil, false, fmt.Errorf("%w: want exactly one of the fields room, rooms and user", event.Fault)
}

// roomNames returns the strings in list. It refuses an empty list and duplicates.
func roomNames(list []json.RawMessage) ([]string, error) {
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: field \"rooms\" is empty", problem.ErrBody)
	}
	names := make([]string, len(list))
	seen := make(map[string]bool, len(list))
	for i, raw := range list {
		if err := json.Unmarshal(raw, &names[i]); err != nil || raw[0] != '"' {
			return nil, fmt.Errorf("%w: field \"rooms\" contains a value that is not a string", problem.ErrBody)
		}
		if seen[names[i]] {
			return nil, fmt.Errorf("%w: field \"rooms\" contains %.40q twice", problem.ErrBody, names[i])
		}
		seen[names[i]] = true
	}
	return names, nil
}

// addDraft adds an event's draft for one room and returns its result, which is complete if
// the event cannot be stored. fault is the error of an event that could not be parsed.
func (p *publisher) addDraft(b *batch, name string, draft streams.Draft, fault error) *result {
	room, err := streams.ParseRoom(name)
	if err != nil {
		return p.failed(name, err)
	}
	if err := problem.Authorize(b.grant, access.Publish, room); err != nil {
		return p.failed(name, err)
	}
	if fault != nil {
		return p.failed(name, fault)
	}
	draft.Room = room
	r := &result{Room: name}
	b.drafts = append(b.drafts, draft)
	b.results = append(b.results, r)
	return r
}

// failed returns the result of an event that was not stored because of err.
func (p *publisher) failed(room string, err error) *result {
	return &result{Room: room, Error: p.problems.Document(err)}
}

// storeBatch stores the drafts and completes their results. An error refuses the whole batch.
func (p *publisher) storeBatch(c echo.Context, b batch) error {
	r := c.Request()
	receipts, decisions, err := p.store(r.Context(), p.rates.callerOf(r, b.grant), b.memory, b.drafts)
	setRateHeaders(c.Response().Header(), decisions)
	if err != nil {
		return err
	}
	var last error // one is logged: events of one batch usually fail for the same reason
	for i, receipt := range receipts {
		r := b.results[i]
		if receipt.Err != nil {
			last = problem.OfReceipt(receipt)
			r.Error = p.problems.Document(last)
			continue
		}
		r.ID, r.Replayed, r.Durability = &receipt.ID, receipt.Replayed, receipt.Durability
	}
	p.problems.LogFailure(last)
	return nil
}
