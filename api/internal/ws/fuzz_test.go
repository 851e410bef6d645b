package ws

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api/internal/conn"
	"github.com/tidemark/tidemark/api/internal/problem"
	"github.com/tidemark/tidemark/streams"
)

// draining is the backend of a node that drains, and so stores nothing.
type draining struct{ Backend }

func (draining) Draining() bool { return true }

func (draining) Verify(context.Context, string) (*access.Grant, error) {
	return nil, problem.ErrUnauthorized
}

func (draining) Publish(_ context.Context, _ *access.Grant, _ string, drafts []streams.Draft) []streams.Receipt {
	if len(drafts) > 0 {
		panic("published while draining")
	}
	return nil
}

// Every message gets one answer, a frame of valid JSON.
func FuzzWebSocketMessage(f *testing.F) {
	env := &conn.Env{
		Scheduler: conn.NewScheduler(conn.NewDeliveries()),
		Problems:  problem.NewReporter(slog.New(slog.DiscardHandler), prometheus.NewCounterVec(prometheus.CounterOpts{}, []string{"code"})),
		Cut:       f.Context(),
	}
	// One room is followed, which is the limit, so no subscribe reaches the backend.
	server := NewServer(env, draining{}, Options{MaxData: streams.DefaultMaxData, MaxRooms: 1})
	f.Fuzz(func(t *testing.T, text []byte) {
		k := &Session{Conn: conn.Conn{Env: env}, server: server, grant: access.Unrestricted(), rooms: []streams.Room{"lobby"}}
		k.queues.init()
		k.execute([]message{{text: text}})
		answers := k.queues.takeAnswers()
		if len(answers) != 1 {
			t.Fatalf("%q got %d answers", text, len(answers))
		}
		frame := answers[0].frame
		var said struct{ Op string }
		if err := json.Unmarshal(frame, &said); err != nil || !utf8.Valid(frame) {
			t.Errorf("%q was answered with %q: %v", text, frame, err)
		}
		switch said.Op {
		case "pong", "error", "unsubscribed":
		default:
			t.Errorf("%q was answered with %q", text, frame)
		}
	})
}
