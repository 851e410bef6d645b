package ws

import (
	"slices"
	"sync"

	"github.com/gorilla/websocket"

	"github.com/tidemark/tidemark/limits"
	"github.com/tidemark/tidemark/streams"
)

const (
	// maxUnhandled bounds the messages in the message queue, and maxUnhandledBytes their
	// total size, except that a single message may exceed it. Beyond that, the session
	// stops reading.
	maxUnhandled      = 64
	maxUnhandledBytes = 1 << 20
	// maxAnswers bounds the answers that were not written, and maxAnswerBytes their total
	// size, except that a single answer may exceed it: an answer repeats text of its message.
	// Beyond that, the handler waits: the client does not read the answers to its messages.
	maxAnswers     = 64
	maxAnswerBytes = 16 << 10
)

// A message is a text message of the client.
type message struct {
	text   []byte
	refuse bool                // the client sends too much: answer with an error
	share  *limits.MemoryShare // released when the message is answered or dropped
}

func release(messages []message) {
	for _, m := range messages {
		m.share.Release()
	}
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
	answerBytes  int    // frames of answers
	stalled      bool   // the client has not taken a write for a second
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

// takeMessages empties the message queue. If messages is nil, because the queue was empty or
// answers are dropped, the handler must end, and release the dropped messages.
func (q *queues) takeMessages() (messages, dropped []message) {
	q.mu.Lock()
	defer q.mu.Unlock()
	messages = q.messages
	q.messages, q.messageBytes = nil, 0
	if q.state >= stateOverloaded || messages == nil {
		q.handling = false
		return nil, messages
	}
	q.changed.Broadcast()
	return messages, nil
}

// overload drops the text of the messages that wait, and ends the session. The handler ends
// after the operation that it executes.
func (q *queues) overload() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.state = max(q.state, stateOverloaded)
	for i := range q.messages {
		q.messages[i].text = nil
	}
	q.changed.Broadcast()
}

// dropping reports whether messages and answers are dropped.
func (q *queues) dropping() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.state >= stateOverloaded
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
	for len(q.answers) > 0 && (len(q.answers) >= maxAnswers || q.answerBytes+len(a.frame) > maxAnswerBytes) && q.state < stateOverloaded {
		q.changed.Wait()
	}
	if q.state >= stateOverloaded {
		a.frame = nil // it will not be written
	}
	q.answers = append(q.answers, a) // also a dropped one: the session's end closes its subscription
	q.answerBytes += len(a.frame)
}

func (q *queues) takeAnswers() []answer {
	q.mu.Lock()
	defer q.mu.Unlock()
	answers := q.answers
	q.answers, q.answerBytes, q.stalled = nil, 0, false
	q.changed.Broadcast()
	return answers
}

// stall notes that the client does not read, and returns the subscriptions that begin with
// the answers that wait.
func (q *queues) stall() (begin []*roomSub) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.stalled = true
	for _, a := range q.answers {
		if a.begin != nil {
			begin = append(begin, a.begin)
		}
	}
	return begin
}

// isStalled reports whether the answers wait for a client that does not read.
func (q *queues) isStalled() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.stalled
}

// heldAnswers returns the size of the answers that were not written.
func (q *queues) heldAnswers() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.answerBytes
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

// putUnfinished puts a subscription whose batch is not written before all others. A client
// that reads slowly then makes the session hold one batch, not one per room.
func (q *queues) putUnfinished(s *roomSub) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if s.queued {
		q.ready = slices.DeleteFunc(q.ready, func(other *roomSub) bool { return other == s })
	}
	s.queued = true
	q.ready = slices.Insert(q.ready, 0, s)
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
