package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/api/internal/wire"
	"github.com/tidemark/tidemark/limits"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
)

const (
	headerKey      = "Idempotency-Key"
	headerReplayed = "Idempotency-Replayed"
)

// Bounds of one call of the log, in bytes. An event with data of 64 KiB may go to 1,000 rooms.
// One call with all of them would stop Redis for more than a second. A call with 1 MiB takes it
// about 10 ms.
const (
	maxCallBytes = 1 << 20
	// maxDurableCallBytes is for events that wait for replicas or the disk, up to a second
	// for each call. A body with the default limit still fits into two calls.
	maxDurableCallBytes = 8 << 20
	// draftOverhead is the size of a draft in a call besides its data.
	draftOverhead = 256
)

// A publisher stores events in the log, for REST and WebSocket.
type publisher struct {
	node     *service.Node
	opts     *Options
	life     *lifecycle
	rates    *rateLimits
	bodies   *limits.MemoryPool
	metrics  *metrics
	problems *problem.Reporter
	answers  answers
}

func (p *publisher) publishToRoom(c echo.Context) error {
	room, err := roomParam(c)
	if err != nil {
		return err
	}
	return p.publish(c, room)
}

func (p *publisher) publishToUser(c echo.Context) error {
	user, err := pathParam(c, "user")
	if err != nil {
		return err
	}
	room, err := streams.Inbox(user)
	if err != nil {
		return err
	}
	return p.publish(c, room)
}

func (p *publisher) publishToAll(c echo.Context) error {
	return p.publish(c, streams.BroadcastRoom)
}

// publish stores the event in the request's body in room and answers with its id.
func (p *publisher) publish(c echo.Context, room streams.Room) error {
	if err := problem.Authorize(grantOf(c), access.Publish, room); err != nil {
		return err
	}
	if p.life.isDraining() {
		return problem.ErrDraining
	}
	key, err := idempotencyKey(c.Request().Header)
	if err != nil {
		return err
	}
	text, memory, err := p.readBody(c, p.opts.maxEvent())
	if err != nil {
		return err
	}
	defer memory.release()
	event, err := wire.ParseObject(problem.ErrBody, text, "type", "data", "durability")
	if err != nil {
		return err
	}
	draft, err := wire.ParseDraft(room, event, p.opts.MaxData)
	if err != nil {
		return err
	}
	draft.Key = key
	memory.grow(cap(draft.Data))
	if err := memory.err(); err != nil {
		return err
	}
	r := c.Request()
	receipts, decisions, _ := p.store(r.Context(), p.rates.callerOf(r, grantOf(c)), memory, []streams.Draft{draft})
	setRateHeaders(c.Response().Header(), decisions)
	receipt := receipts[0]
	if receipt.Err != nil {
		return problem.OfReceipt(receipt)
	}
	status := http.StatusCreated
	if receipt.Replayed {
		c.Response().Header().Set(headerReplayed, "true")
		status = http.StatusOK
	}
	memory.release() // the client may take long to accept the answer
	p.answers.writeJSON(c, status, published(room, receipt))
	return nil
}

// published returns the JSON answer to a publish.
func published(room streams.Room, r streams.Receipt) []byte {
	b := wire.AppendID([]byte(`{"id":`), r.ID)
	b = append(b, `,"room":"`...)
	b = append(b, room...)
	b = append(b, '"')
	if r.Durability != 0 {
		b = append(b, `,"durability":"`...)
		b = append(b, r.Durability.String()...)
		b = append(b, '"')
	}
	return append(b, "}\n"...)
}

// idempotencyKey returns the key in a request's header; "" without one. An empty header is
// refused: the sender expects idempotency and would not get it.
func idempotencyKey(h http.Header) (string, error) {
	switch values := h.Values(headerKey); len(values) {
	case 0:
		return "", nil
	case 1:
		return streams.ParseKey(values[0])
	default:
		return "", fmt.Errorf("%w: the header %s occurs %d times, want it once", streams.ErrKey, headerKey, len(values))
	}
}

// store stores drafts within publishTimeout, as far as the rate limits allow, and returns
// one receipt per draft. decisions are those of the rate limits. err says why some or all
// drafts were refused. Every publish comes through here. A client that leaves does not
// stop it: completing the publish is better than leaving its outcome unknown. The node
// stops it only to take the memory away that the drafts came from; nil means that it can't.
func (p *publisher) store(ctx context.Context, who caller, memory *bodyMemory, drafts []streams.Draft) (_ []streams.Receipt, decisions []rateDecision, err error) {
	if len(drafts) == 0 {
		return nil, nil, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), publishTimeout)
	defer cancel()
	if memory != nil && memory.taken != nil {
		defer context.AfterFunc(memory.taken, cancel)()
	}
	n, decisions, err := p.rates.take(ctx, who, len(drafts))
	var receipts []streams.Receipt
	if n > 0 {
		reserved := p.rates.newRooms.reserve(ctx, who.subject, drafts[:n])
		receipts = p.append(ctx, memory, drafts[:n])
		p.rates.newRooms.settle(ctx, reserved, receipts)
	}
	for _, r := range receipts {
		p.metrics.published.WithLabelValues(who.via, resultOf(r)).Inc()
	}
	return append(receipts, refusedReceipts(len(drafts)-n, err)...), decisions, err
}

// append stores drafts by calls of the log that each carry a bounded amount, in their order.
// Most publishes are one call.
func (p *publisher) append(ctx context.Context, memory *bodyMemory, drafts []streams.Draft) []streams.Receipt {
	n := countWithin(drafts, maxCallBytes)
	receipts := p.call(ctx, memory, drafts[:n])
	for drafts = drafts[n:]; len(drafts) > 0; drafts = drafts[n:] {
		most := maxCallBytes
		if receipts[len(receipts)-1].Durability > streams.Logged {
			most = maxDurableCallBytes
		}
		n = countWithin(drafts, most)
		receipts = append(receipts, p.call(ctx, memory, drafts[:n])...)
	}
	return receipts
}

// call stores drafts by one call of the log.
func (p *publisher) call(ctx context.Context, memory *bodyMemory, drafts []streams.Draft) []streams.Receipt {
	receipts := p.node.Publish(ctx, drafts)
	if ctx.Err() == nil {
		return receipts
	}
	for i, r := range receipts {
		if errors.Is(r.Err, streams.ErrUnavailable) || errors.Is(r.Err, ctx.Err()) {
			receipts[i].Err = unanswered(memory, r.Err)
		}
	}
	return receipts
}

// countWithin returns how many of the first drafts one call of most bytes carries: at least
// one.
func countWithin(drafts []streams.Draft, most int) int {
	bytes := 0
	for i := range drafts {
		if bytes += draftOverhead + len(drafts[i].Data); bytes > most && i > 0 {
			return i
		}
	}
	return len(drafts)
}

// unanswered returns the error of a draft that the log did not answer before the publish
// ended.
func unanswered(memory *bodyMemory, err error) error {
	if memory.wasTaken() {
		return fmt.Errorf("%w: the event may have been stored; repeat it with the same idempotency key", problem.ErrOverloaded)
	}
	return fmt.Errorf("%w: no answer within %v: %v", streams.ErrUnavailable, publishTimeout, err)
}

// refusedReceipts returns receipts for n drafts that were refused because of err.
func refusedReceipts(n int, err error) []streams.Receipt {
	receipts := make([]streams.Receipt, n)
	for i := range receipts {
		receipts[i].Err = err
	}
	return receipts
}

// resultOf returns the name of a receipt's result in the metrics.
func resultOf(r streams.Receipt) string {
	switch {
	case r.Err == nil && r.Replayed:
		return resultReplayed
	case r.Err == nil:
		return resultLogged
	case errors.Is(r.Err, streams.ErrKeyReused):
		return resultKeyReused
	case errors.Is(r.Err, streams.ErrRefused), errors.Is(r.Err, streams.ErrDurability), errors.Is(r.Err, problem.ErrTooManyNewRooms):
		return resultRefused
	case errors.Is(r.Err, streams.ErrNotDurable):
		return resultNotDurable
	}
	return resultUnavailable
}
