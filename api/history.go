package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
)

// timeFormat is RFC 3339 with the milliseconds that an id holds.
const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// readRoom is one address with two representations: the room as a stream, and the
// room as what it holds now.
func (s *Server) readRoom(c echo.Context) error {
	c.Response().Header().Add(echo.HeaderVary, "Accept")
	room, err := roomParam(c)
	if err != nil {
		return err
	}
	if err := problem.Authorize(s.grant(c), access.Subscribe, room); err != nil {
		return err
	}
	switch r := c.Request(); {
	case accepts(r, mediaSSE):
		return s.follow(c, []streams.Room{room}, false)
	case accepts(r, mediaJSON, "application/*", "*/*"):
		return s.history(c, room)
	}
	return fmt.Errorf("%w: there are %s and %s", problem.ErrAccept, mediaSSE, mediaJSON)
}

// history answers with a page of what the log keeps of room.
func (s *Server) history(c echo.Context, room streams.Room) error {
	query, err := historyQuery(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Request().Context(), historyLimit)
	defer cancel()
	page, err := s.node.History(ctx, room, query)
	if err != nil {
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = fmt.Errorf("%w: no answer within %v: %v", streams.ErrUnavailable, historyLimit, err)
		}
		return err
	}
	return writePage(c, room, page)
}

// historyQuery reads the query of a request for history.
func historyQuery(c echo.Context) (q service.HistoryQuery, err error) {
	q.Limit = defaultHistory
	if q.After, err = optionalID(c.QueryParam("after")); err != nil {
		return q, err
	}
	if q.Before, err = optionalID(c.QueryParam("before")); err != nil {
		return q, err
	}
	if limit := c.QueryParam("limit"); limit != "" {
		q.Limit, err = strconv.Atoi(limit)
		if err != nil || q.Limit < 1 || q.Limit > maxHistory {
			return q, fmt.Errorf("%w: %.40q, want 1 to %d", problem.ErrLimit, limit, maxHistory)
		}
	}
	switch order := c.QueryParam("order"); order {
	case "", "asc":
	case "desc":
		q.Newest = true
	default:
		return q, fmt.Errorf("%w: %.40q, want asc or desc", problem.ErrOrder, order)
	}
	return q, nil
}

// optionalID reads an id; empty is the zero ID.
func optionalID(s string) (streams.ID, error) {
	if s == "" {
		return streams.ID{}, nil
	}
	return streams.ParseID(s)
}

// writePage writes a page event by event: a thousand of them may be large, and
// are in memory once already.
func writePage(c echo.Context, room streams.Room, page service.HistoryPage) error {
	w := c.Response()
	w.Header().Set(echo.HeaderContentType, mediaJSON)
	w.Header().Set(echo.HeaderCacheControl, "no-store")
	w.WriteHeader(http.StatusOK)
	buf := append([]byte(`{"room":"`), room...)
	buf = append(buf, `","events":[`...)
	for i, e := range page.Events {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = appendPageEvent(buf, e)
		if len(buf) < maxWrite {
			continue
		}
		if _, err := w.Write(buf); err != nil {
			return nil // the client has left; there is nobody to tell
		}
		buf = buf[:0]
	}
	buf = append(buf, `],"next":`...)
	if page.Next.IsZero() {
		buf = append(buf, "null"...)
	} else {
		buf = appendQuotedID(buf, page.Next)
	}
	buf = append(buf, `,"truncated":`...)
	buf = strconv.AppendBool(buf, page.Truncated)
	_, _ = w.Write(append(buf, "}\n"...))
	return nil
}

// appendPageEvent appends one event as history shows it. Types and rooms are of
// characters that JSON takes as they are, and data is JSON.
func appendPageEvent(b []byte, e *streams.Event) []byte {
	b = append(b, `{"id":`...)
	b = appendQuotedID(b, e.ID)
	b = append(b, `,"type":"`...)
	b = append(b, e.Type...)
	b = append(b, `","data":`...)
	b = append(b, e.Data...)
	b = append(b, `,"time":"`...)
	b = e.ID.Time().AppendFormat(b, timeFormat)
	return append(b, `"}`...)
}

func appendQuotedID(b []byte, id streams.ID) []byte {
	b = append(b, '"')
	b, _ = id.AppendText(b) // never fails
	return append(b, '"')
}
