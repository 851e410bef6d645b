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
	answers answers
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
	h.writePage(c, room, page)
	return nil
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

// eventOverhead is the size, in bytes, of the members of an event in a page besides its type
// and data.
const eventOverhead = 128

// writePage writes a page.
func (h *roomHandler) writePage(c echo.Context, room streams.Room, page service.HistoryPage) {
	size := eventOverhead + len(room)
	for _, e := range page.Events {
		size += eventOverhead + len(e.Type) + len(e.Data)
	}
	b := appendPage(make([]byte, 0, size), room, page)
	header := c.Response().Header()
	header.Set(echo.HeaderContentType, mediaJSON)
	header.Set(echo.HeaderCacheControl, "no-store")
	h.answers.write(c, http.StatusOK, b)
}

func appendPage(b []byte, room streams.Room, page service.HistoryPage) []byte {
	b = append(b, `{"room":"`...)
	b = append(b, room...)
	b = append(b, `","events":[`...)
	for i, e := range page.Events {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendPageEvent(b, e)
	}
	b = append(b, `],"next":`...)
	if page.Next.IsZero() {
		b = append(b, "null"...)
	} else {
		b = wire.AppendID(b, page.Next)
	}
	b = append(b, `,"truncated":`...)
	b = strconv.AppendBool(b, page.Truncated)
	return append(b, "}\n"...)
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
