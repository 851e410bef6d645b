package api

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api/internal/ws"
	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
)

// A webSocketHandler upgrades requests to WebSocket sessions.
type webSocketHandler struct {
	ws    *ws.Server
	slots *slots
	rates *rateLimits
}

// serve upgrades a request and returns. The session runs until it ends.
func (h *webSocketHandler) serve(c echo.Context) error {
	r, w := c.Request(), c.Response()
	if err := ws.CheckUpgrade(w, r); err != nil {
		return err
	}
	slot, err := h.slots.acquire(c)
	if err != nil {
		h.ws.Reject(w, r, recorderOf(c), err)
		return nil
	}
	var session *ws.Session
	defer func() {
		if session == nil {
			slot.Release()
		}
	}()
	session = h.ws.Upgrade(w, r, ws.Request{
		Grant: grantOf(c), Address: h.rates.addressOf(r), Slot: slot, Recorder: recorderOf(c), Header: recordOf(c).header(),
	})
	if session != nil {
		takeOver(c, http.StatusSwitchingProtocols)
		session.Serve()
	}
	return nil
}

// A wsBackend is the node as sessions see it. It implements ws.Backend.
type wsBackend struct {
	*service.Node
	auth      *authenticator
	life      *lifecycle
	rates     *rateLimits
	publisher *publisher
	tracer    *requestTracer
}

// Subscribe implements ws.Backend.
func (b *wsBackend) Subscribe(ctx context.Context, g *access.Grant, address string, rooms []streams.Room, start replay.Start, notify func()) (*service.Subscription, error) {
	who := caller{via: viaWebSocket, subject: b.rates.subjectOf(g), address: address}
	if _, err := b.rates.takeReads(ctx, who, len(rooms)); err != nil {
		return nil, err
	}
	return b.Node.Subscribe(ctx, rooms, start, notify)
}

// Publish implements ws.Backend.
func (b *wsBackend) Publish(ctx context.Context, g *access.Grant, address string, drafts []streams.Draft) []streams.Receipt {
	ctx, end := b.tracer.startMessages(ctx, len(drafts))
	who := caller{via: viaWebSocket, subject: b.rates.subjectOf(g), address: address, each: true}
	receipts, _, _ := b.publisher.store(ctx, who, nil, drafts)
	end(receipts)
	return receipts
}

// Verify implements ws.Backend. Without authentication every token is accepted.
func (b *wsBackend) Verify(ctx context.Context, token string) (*access.Grant, error) {
	if b.auth.verifier == nil {
		return b.auth.unrestricted, nil
	}
	return b.auth.verifier.Verify(ctx, token)
}

// Draining implements ws.Backend.
func (b *wsBackend) Draining() bool { return b.life.isDraining() }
