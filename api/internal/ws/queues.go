package ws

import (
	"sync"

	"github.com/gorilla/websocket"

	"github.com/tidemark/tidemark/streams"
)

const (
	// maxInbox bounds the messages that were read and not handled, and maxInboxBytes
	// their total size, except that a single message may exceed it. Beyond that, the
	// session stops reading.
	maxInbox      = 64
	maxInboxBytes = 1 << 20
	// maxAnswers bounds the answers that were not written. Beyond that, the handler
	// waits: the client does not read the answers to its messages.
	maxAnswers = 64
)

// A message is a text message of the client.
type message struct {
	text   []byte
	refuse bool // the client sends too much: answer with an error
}

// An answer is a frame for the client, together with the subscription that begins after it
// or the room whose subscription ends before it.
type answer struct {
	frame []byte // payload of a text frame
	begin *roomSub
	end   streams.Room
}

// queues connect the goroutines of a session: the reader puts messages into the inbox, the
// handler takes them and queues answers, and the task writes the answers, the control
// frames and the events of subscriptions that are ready.
type queues struct {
	mu         sync.Mutex // guards the fields below, and roomSub.queued
	changed    sync.Cond  // the inbox or answers have shrunk, or state has changed
	state      state
	inbox      []message
	inboxBytes int
	handling   bool // the handler runs
	answers    []answer
	pong       []byte // control frames to write; nil for none
	closeFrame []byte // stays set once it is written
	ready      []*roomSub
}

func (q *queues) init() { q.changed.L = &q.mu }

// advance moves the state forward to at least to.
func (q *queues) advance(to state) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.state = max(q.state, to)
	q.changed.Broadcast()
}

// snapshot returns the state, whether the handler runs, and whether the task must queue the
// close frame that the state calls for.
func (q *queues) snapshot() (s state, handling, closeDue bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	closeDue = q.state > stateOpen && q.state < stateClosing && !q.handling && q.closeFrame == nil
	return q.state, q.handling, closeDue
}

// put adds a message to the inbox. It waits while the inbox is full. accepted is false if
// the session reads no more messages. start means that the caller must start the handler.
func (q *queues) put(m message) (accepted, start bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.state == stateOpen && len(q.inbox) > 0 && (len(q.inbox) >= maxInbox || q.inboxBytes+len(m.text) > maxInboxBytes) {
		q.changed.Wait()
	}
	if q.state != stateOpen {
		return false, false
	}
	q.inbox = append(q.inbox, m)
	q.inboxBytes += len(m.text)
	start = !q.handling
	q.handling = true
	return true, start
}

// takeMessages empties the inbox. If it returns nil, because the inbox was empty or answers
// are dropped, the handler must end.
func (q *queues) takeMessages() []message {
	q.mu.Lock()
	defer q.mu.Unlock()
	messages := q.inbox
	q.inbox, q.inboxBytes = nil, 0
	if q.state >= stateClosing || messages == nil {
		q.handling = false
		return nil
	}
	q.changed.Broadcast()
	return messages
}

// handlerEnded notes that the handler has ended by a panic.
func (q *queues) handlerEnded() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.handling = false
}

// putAnswer queues an answer. It waits while the queue is full, unless answers are dropped.
func (q *queues) putAnswer(a answer) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.answers) >= maxAnswers && q.state < stateClosing {
		q.changed.Wait()
	}
	q.answers = append(q.answers, a) // also a dropped one: the session's end closes its subscription
}

func (q *queues) takeAnswers() []answer {
	q.mu.Lock()
	defer q.mu.Unlock()
	answers := q.answers
	q.answers = nil
	q.changed.Broadcast()
	return answers
}

// putControl queues a control frame. Of several pongs the last one suffices (RFC 6455,
// section 5.5.3).
func (q *queues) putControl(frame []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	frame = append([]byte(nil), frame...)
	if frame[0]&0x0f == websocket.CloseMessage {
		q.closeFrame = frame
	} else {
		q.pong = frame
	}
}

// takeControl returns the control frames to write now. The close frame waits for the last
// answer. Once it is returned, the state is stateClosing.
func (q *queues) takeControl() (pong, closeFrame []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if pong = q.pong; !q.handling && len(q.answers) == 0 && q.closeFrame != nil {
		closeFrame = q.closeFrame
		q.state = max(q.state, stateClosing)
		q.changed.Broadcast()
	}
	q.pong = nil
	return pong, closeFrame
}

// queuedClose returns the close frame that was written or queued; nil for none.
func (q *queues) queuedClose() []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closeFrame
}

// putReady queues a subscription that may have events, unless it is queued already.
func (q *queues) putReady(s *roomSub) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !s.queued {
		s.queued = true
		q.ready = append(q.ready, s)
	}
}

// takeReady returns the next subscription that may have events; nil for none. Subscriptions
// take turns, so that none waits for another to catch up.
func (q *queues) takeReady() *roomSub {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.ready) > 0 {
		s := q.ready[0]
		if q.ready = q.ready[1:]; len(q.ready) == 0 {
			q.ready = nil
		}
		s.queued = false
		if !s.closed {
			return s
		}
	}
	return nil
}
