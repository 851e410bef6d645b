package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/limits"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/embedded"
)

// newBatch returns an empty batch whose memory comes from a pool of that many bytes.
func newBatch(pool int64) *batch {
	memory := &bodyMemory{pool: limits.NewMemoryPool(pool)}
	return &batch{grant: access.Unrestricted(), memory: memory, rooms: DefaultMaxBatch, tooMany: problem.ErrBatchTooLarge}
}

// eventFor returns the text of an event for n rooms.
func eventFor(n int, data string) json.RawMessage {
	rooms := make([]string, n)
	for i := range rooms {
		rooms[i] = fmt.Sprintf("%q", fmt.Sprint("r", i))
	}
	return json.RawMessage(`{"rooms":[` + strings.Join(rooms, ",") + `],"data":` + data + `}`)
}

func newTestPublisher() *publisher {
	opts := Options{}.withDefaults()
	return &publisher{opts: &opts, problems: New(nil, nil).env.Problems}
}

// The drafts of an event share its data, which the memory of the body counts once.
func TestDraftsOfAnEventShareItsData(t *testing.T) {
	b := newBatch(8 << 20)
	data := `"` + strings.Repeat("x", streams.DefaultMaxData-2) + `"`
	if _, err := newTestPublisher().addEvent(b, eventFor(1000, data)); err != nil {
		t.Fatal(err)
	}
	if len(b.drafts) != 1000 {
		t.Fatalf("%d drafts", len(b.drafts))
	}
	for _, d := range b.drafts {
		if &d.Data[0] != &b.drafts[0].Data[0] {
			t.Fatal("a draft has data of its own")
		}
	}
	if got, least := b.memory.pool.Used(), int64(1000*draftMemory+len(data)); got < least || got > least+least/8 {
		t.Errorf("%d bytes are counted, want about %d", got, least)
	}
	b.memory.release()
	if got := b.memory.pool.Used(); got != 0 {
		t.Errorf("%d bytes are counted after the batch", got)
	}
}

// A batch whose drafts need more memory than bodies may have is refused.
func TestDraftsBeyondThePool(t *testing.T) {
	b := newBatch(1 << 20)
	if _, err := newTestPublisher().addEvent(b, eventFor(1000, `"`+strings.Repeat("x", 60<<10)+`"`)); !errors.Is(err, problem.ErrOverloaded) {
		t.Errorf("%v, want %v", err, problem.ErrOverloaded)
	}
}

// White space in the data of an event is bounded, and costs no memory afterwards.
func TestWhiteSpaceInABatch(t *testing.T) {
	p := newTestPublisher()
	for _, tc := range []struct {
		spaces int
		code   string
	}{{p.opts.maxEvent() - 2, ""}, {p.opts.maxEvent() - 1, "data-too-large"}} {
		b := newBatch(8 << 20)
		r, err := p.addEvent(b, eventFor(2, "["+strings.Repeat(" ", tc.spaces)+"]"))
		if err != nil {
			t.Fatal(err)
		}
		for _, room := range r.Rooms {
			code := ""
			if room.Error != nil {
				code = room.Error.Code
			}
			if code != tc.code {
				t.Errorf("%d spaces: %q, want %q", tc.spaces, code, tc.code)
			}
		}
		for _, d := range b.drafts {
			if cap(d.Data) > 100 {
				t.Errorf("%q takes %d bytes", d.Data, cap(d.Data))
			}
		}
		if got := b.memory.bytes; got > 2*draftMemory+100 {
			t.Errorf("%d spaces: %d bytes are counted", tc.spaces, got)
		}
	}
}

// A callLog notes the calls of Append, and answers each with level unless its context has
// ended.
type callLog struct {
	streams.Log
	level streams.Durability
	calls [][]streams.Draft
	after func() // runs after each call
}

func (l *callLog) Append(ctx context.Context, drafts []streams.Draft) []streams.Receipt {
	l.calls = append(l.calls, drafts)
	receipts := make([]streams.Receipt, len(drafts))
	for i := range receipts {
		receipts[i] = streams.Receipt{ID: idOfCall(len(l.calls)), Durability: l.level}
		if drafts[i].Key != "" {
			receipts[i] = streams.Receipt{Err: streams.ErrKeyReused}
		} else if ctx.Err() != nil {
			receipts[i] = streams.Receipt{Err: fmt.Errorf("%w: %w", streams.ErrUnavailable, ctx.Err())}
		}
	}
	if l.after != nil {
		l.after()
	}
	return receipts
}

// idOfCall returns the id of the events of the nth call.
func idOfCall(n int) streams.ID { return streams.IDAt(time.Unix(int64(n), 0), 0) }

// newCallLog returns a callLog and a publisher that uses it.
func newCallLog(t *testing.T, level streams.Durability) (*callLog, *publisher) {
	t.Helper()
	log, err := embedded.Open(t.TempDir(), embedded.Options{})
	if err != nil {
		t.Fatal(err)
	}
	l := &callLog{Log: log, level: level}
	p := newTestPublisher()
	p.node = service.New(l, &service.Options{Name: "n1"})
	t.Cleanup(func() {
		p.node.Close()
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return l, p
}

// draftsOf returns n drafts that share data of size bytes.
func draftsOf(n, size int) []streams.Draft {
	data := make([]byte, size)
	drafts := make([]streams.Draft, n)
	for i := range drafts {
		drafts[i] = streams.Draft{Room: streams.Room(fmt.Sprint("r", i)), Data: data}
	}
	return drafts
}

// The calls of one publish are bounded in bytes, together carry its drafts in their order, and
// are few if each of them waits for the disk.
func TestCallsOfAPublishAreBounded(t *testing.T) {
	for _, tc := range []struct {
		level       streams.Durability
		n, size     int
		calls, most int
	}{
		{streams.Logged, 1, 1, 1, maxCallBytes},
		{streams.Logged, 1000, 700, 1, maxCallBytes},
		{streams.Logged, 1000, streams.DefaultMaxData, 67, maxCallBytes},
		{streams.Logged, 3, 2 * maxCallBytes, 3, 3 * maxCallBytes}, // a draft that exceeds a call alone
		{streams.Fsynced, 128, streams.DefaultMaxData, 2, maxDurableCallBytes},
		{streams.Fsynced, 1000, streams.DefaultMaxData, 9, maxDurableCallBytes},
	} {
		l, p := newCallLog(t, tc.level)
		drafts := draftsOf(tc.n, tc.size)
		receipts := p.append(t.Context(), nil, drafts)
		if len(receipts) != tc.n || len(l.calls) != tc.calls {
			t.Errorf("%d of %d bytes: %d receipts, %d calls, want %d", tc.n, tc.size, len(receipts), len(l.calls), tc.calls)
		}
		i := 0
		for c, call := range l.calls {
			bytes := 0
			for _, d := range call {
				if d.Room != drafts[i].Room || receipts[i].ID != idOfCall(c+1) {
					t.Fatalf("%d of %d bytes: draft %d is not in its place", tc.n, tc.size, i)
				}
				i++
				bytes += len(d.Data)
			}
			if bytes > tc.most {
				t.Errorf("%d of %d bytes: a call of %d bytes", tc.n, tc.size, bytes)
			}
		}
	}
}

// If a publish loses its memory between two calls, the answers of the first call stay. Of the
// other events the client is told that they may have been stored.
func TestEvictionBetweenCalls(t *testing.T) {
	l, p := newCallLog(t, streams.Logged)
	memory := newBatch(1 << 20).memory
	memory.grow(1 << 19)
	ctx := memory.taken
	l.after = memory.evict
	drafts := draftsOf(32, streams.DefaultMaxData)
	drafts[0].Key = "used"
	receipts := p.append(ctx, memory, drafts)
	if len(l.calls) < 3 || len(l.calls[0]) < 2 {
		t.Fatalf("%d calls", len(l.calls))
	}
	if !errors.Is(receipts[0].Err, streams.ErrKeyReused) || receipts[1].Err != nil {
		t.Errorf("events of the first call: %v, %v", receipts[0].Err, receipts[1].Err)
	}
	last := receipts[31].Err
	if !errors.Is(last, problem.ErrOverloaded) || !strings.Contains(last.Error(), "may have been stored; repeat it with the same idempotency key") {
		t.Errorf("an event of the last call: %v", last)
	}
}
