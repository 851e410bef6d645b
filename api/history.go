package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api/internal/conn"
	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/api/internal/wire"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
)

const (
	// historyTimeout bounds how long a page of history waits for the log.
	historyTimeout = 10 * time.Second
	// maxHistory is the largest page of history, and defaultHistory the size of a page
	// without a limit in the query.
	maxHistory, defaultHistory = 1000, 100
)

// timeFormat is RFC 3339 with the milliseconds of an id.
const timeFormat = "2006-01-02T15:04:05.000Z07:00"

// A roomHandler reads rooms.
type roomHandler struct {
	node    *service.Node
	streams *streamHandler
	slots   *slots // of history requests
	rates   *rateLimits
}

// readRoom answers with a stream of the room or a page of its history, by the Accept header.
func (h *roomHandler) readRoom(c echo.Context) error {
	c.Response().Header().Add(echo.HeaderVary, "Accept")
	room, err := roomParam(c)
	if err != nil {
		return err
	}
	if err := problem.Authorize(grantOf(c), access.Subscribe, room); err != nil {
		return err
	}
	switch r := c.Request(); {
	case accepts(r, mediaSSE):
		return h.streams.follow(c, []streams.Room{room}, 1, false)
	case accepts(r, mediaJSON, "application/*", "*/*"):
		return h.history(c, room)
	}
	return fmt.Errorf("%w: want %s or %s", problem.ErrAccept, mediaSSE, mediaJSON)
}

// history answers with a page of the room's events in the log. It holds a slot until the
// answer is written, and stops reading when the client leaves.
func (h *roomHandler) history(c echo.Context, room streams.Room) error {
	query, err := historyQuery(c)
	if err != nil {
		return err
	}
	r := c.Request()
	decisions, err := h.rates.takeReads(r.Context(), h.rates.callerOf(r, grantOf(c)), 1)
	setRateHeaders(c.Response().Header(), decisions)
	if err != nil {
		return err
	}
	slot, err := h.slots.acquire(c)
	if err != nil {
		return err
	}
	defer slot.Release()
	ctx, cancel := context.WithTimeout(r.Context(), historyTimeout)
	defer cancel()
	page, err := h.node.History(ctx, room, query)
	switch {
	case err == nil:
	case r.Context().Err() != nil:
		return fmt.Errorf("%w: %v", r.Context().Err(), err) // the client has left
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("%w: no answer within %v: %v", streams.ErrUnavailable, historyTimeout, err)
	default:
		return err
	}
	return writePage(c, room, page)
}

// historyQuery parses the query of a request for history.
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

// optionalID parses an id; "" is the zero ID.
func optionalID(s string) (streams.ID, error) {
	if s == "" {
		return streams.ID{}, nil
	}
	return streams.ParseID(s)
}

// writePage writes a page in pieces: a thousand events may be large, and they are in memory
// once already.
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
		if len(buf) < conn.MaxWrite {
			continue
		}
		if _, err := w.Write(buf); err != nil {
			return nil // the client has left
		}
		buf = buf[:0]
	}
	buf = append(buf, `],"next":`...)
	if page.Next.IsZero() {
		buf = append(buf, "null"...)
	} else {
		buf = wire.AppendID(buf, page.Next)
	}
	buf = append(buf, `,"truncated":`...)
	buf = strconv.AppendBool(buf, page.Truncated)
	_, _ = w.Write(append(buf, "}\n"...))
	return nil
}

// appendPageEvent appends one event of a page. Types need no escaping, and data is JSON.
func appendPageEvent(b []byte, e *streams.Event) []byte {
	b = append(b, `{"id":`...)
	b = wire.AppendID(b, e.ID)
	b = append(b, `,"type":"`...)
	b = append(b, e.Type...)
	b = append(b, `","data":`...)
	b = append(b, e.Data...)
	b = append(b, `,"time":"`...)
	b = e.ID.Time().AppendFormat(b, timeFormat)
	return append(b, `"}`...)
}
