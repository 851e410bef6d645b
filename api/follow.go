package api

import (
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/api/internal/sse"
	"github.com/tidemark/tidemark/streams"
)

// A streamHandler opens SSE streams.
type streamHandler struct {
	sse      *sse.Server
	life     *lifecycle
	slots    *slots
	rates    *rateLimits
	tracer   *requestTracer
	maxRooms int
}

// followRooms opens a stream of the rooms in the query, the caller's inbox, and the
// broadcast room.
func (h *streamHandler) followRooms(c echo.Context) error {
	c.Response().Header().Add(echo.HeaderVary, "Accept")
	if !accepts(c.Request(), mediaSSE, "text/*", "*/*") {
		return fmt.Errorf("%w: want %s", problem.ErrAccept, mediaSSE)
	}
	names := c.QueryParams()["room"]
	if len(names) > h.maxRooms {
		return fmt.Errorf("%w: %d, want at most %d", problem.ErrTooManyRooms, len(names), h.maxRooms)
	}
	grant := grantOf(c)
	rooms := make([]streams.Room, 0, len(names)+2)
	add := func(room streams.Room) error {
		if !slices.Contains(rooms, room) {
			rooms = append(rooms, room)
		}
		return problem.Authorize(grant, access.Subscribe, room)
	}
	for _, name := range names {
		room, err := streams.ParseRoom(name)
		if err != nil {
			return err
		}
		if err := add(room); err != nil {
			return err
		}
	}
	if inbox := grant.Inbox(); inbox != "" {
		if err := add(inbox); err != nil {
			return err
		}
	}
	if err := add(streams.BroadcastRoom); err != nil {
		return err
	}
	return h.follow(c, rooms, max(len(names), 1), true)
}

// follow opens a stream of rooms, which counts as n reads. wrapped puts the room around the
// data of each event. Once the start position is read, all errors are reported in the stream:
// a browser reconnects only after status 200.
func (h *streamHandler) follow(c echo.Context, rooms []streams.Room, n int, wrapped bool) error {
	r, w, rec := c.Request(), c.Response(), recorderOf(c)
	start, err := sse.StartOf(r, time.Now())
	if err != nil {
		return err
	}
	if h.life.isDraining() {
		h.sse.Reject(w, rec, problem.ErrDraining)
	}
	if _, err := h.rates.takeReads(r.Context(), h.rates.callerOf(r, grantOf(c)), n); err != nil {
		h.sse.Reject(w, rec, err)
	}
	slot, err := h.slots.acquire(c)
	if err != nil {
		h.sse.Reject(w, rec, err)
	}
	var stream *sse.Stream
	defer func() { // also after the panic of Reject
		if stream == nil {
			slot.Release()
		}
	}()
	stream, err = h.sse.Open(w, r, sse.Request{
		Rooms: rooms, Wrapped: wrapped, Start: start, Slot: slot, Recorder: rec,
	})
	if err != nil {
		return err
	}
	h.tracer.opened(c)
	takeOver(c, http.StatusOK)
	stream.Serve(grantOf(c).Expires())
	return nil
}
