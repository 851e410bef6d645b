package api

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/streams"
)

// A result is the outcome of one event of a batch. An event that named several
// rooms has its outcomes in Rooms and nothing else, unless it failed as a whole.
type result struct {
	ID         *streams.ID        `json:"id,omitempty"`
	Room       string             `json:"room,omitempty"`
	Replayed   bool               `json:"replayed,omitempty"`
	Durability streams.Durability `json:"durability,omitempty"`
	Error      *problem.Document  `json:"error,omitempty"`
	Rooms      []*result          `json:"rooms,omitempty"`
}

// A batch is what is to be stored, and which result waits for each draft.
type batch struct {
	grant   *access.Grant
	drafts  []streams.Draft
	waiting []*result
}

// publishBatch stores the events of the body, each for itself.
func (s *Server) publishBatch(c echo.Context) error {
	if s.draining.Err() != nil {
		return problem.ErrDraining
	}
	if c.Request().Header.Values(headerKey) != nil {
		return fmt.Errorf("%w: in a batch each event has its own, in the field \"key\"", streams.ErrKey)
	}
	events, err := s.readBatch(c)
	if err != nil {
		return err
	}
	results := make([]*result, len(events))
	b := batch{grant: s.grant(c)}
	for i, event := range events {
		if results[i], err = s.addEvent(&b, event); err != nil {
			return err
		}
	}
	if err := s.appendBatch(c, b); err != nil {
		return err
	}
	return c.JSON(http.StatusOK, struct {
		Results []*result `json:"results"`
	}{results})
}

// readBatch returns the events of the body, not looked at yet.
func (s *Server) readBatch(c echo.Context) ([]json.RawMessage, error) {
	body, err := s.readBody(c, s.opts.MaxBody)
	if err != nil {
		return nil, err
	}
	o, err := parseObject(problem.ErrBody, body, "events")
	if err != nil {
		return nil, err
	}
	events, given, err := o.list("events")
	switch {
	case err != nil:
		return nil, err
	case !given:
		return nil, fmt.Errorf("%w: field \"events\" is missing", problem.ErrBody)
	case len(events) > s.opts.MaxBatch:
		return nil, s.tooManyEvents()
	}
	return events, nil
}

// addEvent adds one event to the batch and returns its result, which is complete
// where the event can't be stored. An error is about the batch as a whole.
func (s *Server) addEvent(b *batch, text json.RawMessage) (*result, error) {
	event, err := parseObject(problem.ErrBody, text, "room", "rooms", "user", "type", "data", "key", "durability")
	if err != nil {
		return s.failed("", err), nil
	}
	names, several, err := targets(event)
	if err != nil {
		return s.failed("", err), nil
	}
	if len(b.drafts)+len(names) > s.opts.MaxBatch {
		return nil, s.tooManyEvents()
	}
	if !several {
		return s.addDraft(b, names[0], event), nil
	}
	r := &result{}
	for _, name := range names {
		r.Rooms = append(r.Rooms, s.addDraft(b, name, event))
	}
	return r, nil
}

func (s *Server) tooManyEvents() error {
	return fmt.Errorf("%w: want at most %d, where an event to several rooms counts for each", problem.ErrBatchTooLarge, s.opts.MaxBatch)
}

// targets returns the rooms that an event names, by exactly one of its members
// room, rooms and user. several says that it was by rooms.
func targets(event object) (names []string, several bool, err error) {
	room, byRoom, err := event.text("room")
	if err != nil {
		return nil, false, err
	}
	user, byUser, err := event.text("user")
	if err != nil {
		return nil, false, err
	}
	list, several, err := event.list("rooms")
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
	return nil, false, fmt.Errorf("%w: want one of the fields room, rooms and user", event.fault)
}

// roomNames returns the strings in list: at least one, none twice.
func roomNames(list []json.RawMessage) ([]string, error) {
	if len(list) == 0 {
		return nil, fmt.Errorf("%w: field \"rooms\" is empty", problem.ErrBody)
	}
	names := make([]string, len(list))
	seen := make(map[string]bool, len(list))
	for i, raw := range list {
		if err := json.Unmarshal(raw, &names[i]); err != nil || raw[0] != '"' {
			return nil, fmt.Errorf("%w: field \"rooms\" has something that is not a string", problem.ErrBody)
		}
		if seen[names[i]] {
			return nil, fmt.Errorf("%w: field \"rooms\" has %.40q twice", problem.ErrBody, names[i])
		}
		seen[names[i]] = true
	}
	return names, nil
}

// addDraft adds the event for one room, and returns the result that waits for it,
// or says why it can't be stored.
func (s *Server) addDraft(b *batch, name string, event object) *result {
	room, err := streams.ParseRoom(name)
	if err != nil {
		return s.failed(name, err)
	}
	if err := problem.Authorize(b.grant, access.Publish, room); err != nil {
		return s.failed(name, err)
	}
	draft, err := s.draft(room, event)
	if err != nil {
		return s.failed(name, err)
	}
	r := &result{Room: name}
	b.drafts = append(b.drafts, draft)
	b.waiting = append(b.waiting, r)
	return r
}

// failed returns the result of an event that was not stored.
func (s *Server) failed(room string, err error) *result {
	return &result{Room: room, Error: s.problems.Document(err)}
}

// appendBatch stores the drafts and completes the results that wait for them, or
// returns why the batch as a whole is not stored.
func (s *Server) appendBatch(c echo.Context, b batch) error {
	r := c.Request()
	receipts, told, err := s.append(r.Context(), s.publisherOf(r, b.grant), b.drafts)
	tell(c.Response().Header(), told)
	if err != nil {
		return err
	}
	var last error // all that failed in one batch most likely failed for one reason
	for i, receipt := range receipts {
		r := b.waiting[i]
		if receipt.Err != nil {
			last = problem.OfReceipt(receipt)
			r.Error = s.problems.Document(last)
			continue
		}
		r.ID, r.Replayed, r.Durability = &receipt.ID, receipt.Replayed, receipt.Durability
	}
	s.problems.LogFailure(last)
	return nil
}
