package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/streams"
)

const (
	headerKey      = "Idempotency-Key"
	headerReplayed = "Idempotency-Replayed"
)

func (s *Server) publishToRoom(c echo.Context) error {
	room, err := roomParam(c)
	if err != nil {
		return err
	}
	return s.publish(c, room)
}

func (s *Server) publishToUser(c echo.Context) error {
	user, err := pathParam(c, "user")
	if err != nil {
		return err
	}
	room, err := streams.Inbox(user)
	if err != nil {
		return err
	}
	return s.publish(c, room)
}

func (s *Server) publishToAll(c echo.Context) error {
	return s.publish(c, streams.BroadcastRoom)
}

// published is the answer to a publish, as JSON.
func published(room streams.Room, r streams.Receipt) []byte {
	b := appendQuotedID([]byte(`{"id":`), r.ID)
	return append(frame(b).room(room).durability(r.Durability), "}\n"...)
}

// publish stores the event in the request's body in room, and answers with its id.
func (s *Server) publish(c echo.Context, room streams.Room) error {
	if err := problem.Authorize(s.grant(c), access.Publish, room); err != nil {
		return err
	}
	if s.draining.Err() != nil {
		return problem.ErrDraining
	}
	key, err := headerOnce(c.Request().Header, headerKey)
	if err != nil {
		return err
	}
	body, err := s.readBody(c, s.opts.maxEvent())
	if err != nil {
		return err
	}
	event, err := parseObject(problem.ErrBody, body, "type", "data", "durability")
	if err != nil {
		return err
	}
	draft, err := s.draft(room, event)
	if err != nil {
		return err
	}
	draft.Key = key
	r := c.Request()
	receipts, told, _ := s.append(r.Context(), s.publisherOf(r, s.grant(c)), []streams.Draft{draft})
	tell(c.Response().Header(), told)
	receipt := receipts[0]
	if receipt.Err != nil {
		return problem.OfReceipt(receipt)
	}
	status := http.StatusCreated
	if receipt.Replayed {
		c.Response().Header().Set(headerReplayed, "true")
		status = http.StatusOK
	}
	return c.JSONBlob(status, published(room, receipt))
}

// headerOnce returns the idempotency key that a header gives, or "". An empty one
// is refused, for whoever sends it believes to be protected.
func headerOnce(h http.Header, name string) (string, error) {
	switch values := h.Values(name); len(values) {
	case 0:
		return "", nil
	case 1:
		return streams.ParseKey(values[0])
	default:
		return "", fmt.Errorf("%w: the header %s is there %d times", streams.ErrKey, name, len(values))
	}
}

// draft returns the event for room that the members type, data, key and durability
// describe.
func (s *Server) draft(room streams.Room, event object) (d streams.Draft, err error) {
	d.Room = room
	name, _, err := event.text("type")
	if err != nil {
		return d, err
	}
	if d.Type, err = streams.ParseType(name); err != nil {
		return d, err
	}
	data, given := event.members["data"]
	if !given {
		return d, fmt.Errorf("%w: field \"data\" is missing", event.fault)
	}
	if d.Data, err = streams.ParseData(data, s.opts.MaxData); err != nil {
		return d, err
	}
	level, given, err := event.text("durability")
	if err != nil {
		return d, err
	}
	if given {
		if d.Durability, err = streams.ParseDurability(level); err != nil {
			return d, err
		}
	}
	key, given, err := event.text("key")
	if err != nil || !given {
		return d, err
	}
	d.Key, err = streams.ParseKey(key)
	return d, err
}

// append publishes drafts within publishLimit, as far as the rates allow: told is what
// they had to say, and err why some of the drafts, or all, were not published. It is the
// only way to the log. A client that leaves meanwhile does not stop it: what was begun is
// better ended than left unknown.
func (s *Server) append(ctx context.Context, p publisher, drafts []streams.Draft) (_ []streams.Receipt, told []quota, err error) {
	if len(drafts) == 0 {
		return nil, nil, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishLimit)
	defer cancel()
	n, told, err := s.ration(ctx, p, len(drafts))
	var receipts []streams.Receipt
	if n > 0 {
		receipts = s.node.Publish(ctx, drafts[:n])
	}
	for i, r := range receipts {
		if r.Err != nil && r.ID.IsZero() && ctx.Err() != nil {
			receipts[i].Err = fmt.Errorf("%w: no answer within %v: %v", streams.ErrUnavailable, publishLimit, r.Err)
		}
		s.metrics.published.WithLabelValues(p.via, resultOf(receipts[i])).Inc()
	}
	return append(receipts, refusedReceipts(len(drafts)-n, err)...), told, err
}
