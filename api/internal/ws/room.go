package ws

import (
	"github.com/gorilla/websocket"

	"github.com/tidemark/tidemark/api/internal/conn"
	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/service"
	"github.com/tidemark/tidemark/streams"
)

// A roomSub is a session's subscription to one room. The task owns it.
type roomSub struct {
	room   streams.Room
	sub    *service.Subscription
	pos    streams.ID    // the client's cursor in the room
	batch  service.Batch // taken from sub and not written yet
	closed bool          // unsubscribed
	retry  conn.Retry

	queued bool // in queues.ready; guarded by queues.mu
}

// encode appends the batch, as far as it fits into one write.
func (s *roomSub) encode(b []byte, stats *conn.WriteStats) []byte {
	b = conn.AppendItems(b, &s.batch, stats, s.item)
	if s.batch.Items == nil && !s.batch.Live {
		s.sub.Encoded()
	}
	if s.batch.Items == nil && s.batch.ReplayDone {
		s.batch.ReplayDone = false
		if c, ok := s.sub.Position(); ok {
			s.pos = c.IDs()[0] // the cursor moves even if there was no event to replay
		}
		b = appendFrame(b, websocket.TextMessage, liveFrame(s.room, s.batch.Replayed, s.pos))
	}
	return b
}

// item appends the frame of one item.
func (s *roomSub) item(b []byte, it replay.Item) []byte {
	s.pos = it.Position
	if it.Gap != nil {
		return appendFrame(b, websocket.TextMessage, gapFrame(it.Gap))
	}
	return append(b, it.Event.Encoded(streams.WebSocket, eventFrame)...)
}

// position returns the client's cursor in the room, moved past events of other rooms if
// everything is written.
func (s *roomSub) position() streams.ID {
	if s.batch.Empty() {
		if c, ok := s.sub.Position(); ok {
			s.pos = c.IDs()[0] // one room is in one partition
		}
	}
	return s.pos
}

// close ends the subscription.
func (s *roomSub) close() {
	s.closed = true
	s.retry.Stop()
	s.sub.Close()
}

// cursorOf returns a cursor that is valid for all subscriptions: in each partition the
// earliest of their positions.
func cursorOf(subs []*roomSub) replay.Cursor {
	earliest := make(map[streams.Partition]streams.ID)
	for _, s := range subs {
		pos := s.position()
		p := pos.Partition()
		if first, ok := earliest[p]; !ok || pos.Before(first) {
			earliest[p] = pos
		}
	}
	ids := make([]streams.ID, 0, len(earliest))
	for _, id := range earliest {
		ids = append(ids, id)
	}
	return replay.CursorAt(ids...)
}
