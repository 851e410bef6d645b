package ws

import (
	"sync"

	"github.com/gorilla/websocket"

	"github.com/tidemark/tidemark/streams"
)

const (
	// maxUnhandled bounds the messages in the message queue, and maxUnhandledBytes their
	// total size, except that a single message may exceed it. Beyond that, the session
	// stops reading.
	maxUnhandled      = 64
	maxUnhandledBytes = 1 << 20
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

// queues connect the goroutines of a session: the reader puts messages into the message
// queue, the handler takes them and queues answers, and the task writes the answers, the
// control frames and the events of subscriptions that are ready.
type queues struct {
	mu           sync.Mutex // guards the fields below, and roomSub.queued
	changed      sync.Cond  // messages or answers have shrunk, or state has changed
	state        state
	messages     []message // the message queue: read and not handled
	messageBytes int
	handling     bool // the handler runs
	answers      []answer
	pong         []byte // control frames to write; nil for none
	closeFrame   []byte // stays set once it is written
	ready        []*roomSub
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

// put adds a message to the message queue. It waits while the queue is full. accepted is
// false if the session reads no more messages. start means that the caller must start the
// handler.
func (q *queues) put(m message) (accepted, start bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.state == stateOpen && len(q.messages) > 0 && (len(q.messages) >= maxUnhandled || q.messageBytes+len(m.text) > maxUnhandledBytes) {
		q.changed.Wait()
	}
	if q.state != stateOpen {
		return false, false
	}
	q.messages = append(q.messages, m)
	q.messageBytes += len(m.text)
	start = !q.handling
	q.handling = true
	return true, start
}

// takeMessages empties the message queue. If it returns nil, because the queue was empty or
// answers are dropped, the handler must end.
func (q *queues) takeMessages() []message {
	q.mu.Lock()
	defer q.mu.Unlock()
	messages := q.messages
	q.messages, q.messageBytes = nil, 0
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
