package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api/internal/conn"
	"github.com/tidemark/tidemark/api/internal/peers"
	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/api/internal/wire"
	"github.com/tidemark/tidemark/limits"
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
	unsent  *limits.MemoryPool
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
	return writePage(c, room, page, h.unsent)
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

// writePage writes a page, which holds a share of unsent until the client has taken it. If
// the pool takes the share away, the answer ends early and the client sees that it is
// incomplete.
func writePage(c echo.Context, room streams.Room, page service.HistoryPage, unsent *limits.MemoryPool) error {
	w := c.Response()
	size := eventOverhead + len(room)
	for _, e := range page.Events {
		size += eventOverhead + len(e.Type) + len(e.Data)
	}
	ender := &writeEnder{control: http.NewResponseController(w.Writer), peer: peers.ConnOf(c.Request().Context())}
	defer ender.disarm()
	share := unsent.Hold(int64(size), ender.end)
	defer share.Release()
	b := appendPage(make([]byte, 0, size), room, page)
	w.Header().Set(echo.HeaderContentType, mediaJSON)
	w.Header().Set(echo.HeaderCacheControl, "no-store")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(b) // on error the client has left, or the page lost its share
	return nil
}

// A writeEnder ends the blocked write of an answer. It does nothing after the handler has
// returned: net/http does not allow that.
type writeEnder struct {
	control *http.ResponseController
	peer    *peers.Conn // the TCP connection; nil for that of a trusted proxy

	mu       sync.Mutex // guards disarmed
	disarmed bool
}

// end makes a write fail that waits for the client. Over HTTP/2 the client may not take the
// reset of the stream either. Then end closes the TCP connection a little later. Any
// goroutine may call it.
func (e *writeEnder) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.disarmed {
		return
	}
	_ = e.control.SetWriteDeadline(time.Unix(1, 0)) // in the past
	time.AfterFunc(conn.ResetWait, e.abort)
}

func (e *writeEnder) abort() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.disarmed {
		e.peer.Abort()
	}
}

func (e *writeEnder) disarm() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.disarmed = true
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
