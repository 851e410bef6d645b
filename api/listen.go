package api

import (
	"bytes"
	"errors"
	"io"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidemark/tidemark/api/internal/problem"
)

// The reading side of a socket. The reader's goroutine lives as long as the
// connection, and so it only reads: what it calls decides how much memory an idle
// connection holds.

// A message is what a client said.
type message struct {
	text    []byte
	tooFast bool // it is to be refused, in its turn
}

// listen reads until the connection ends. It waits with little on its stack, and has
// another goroutine read when there is something.
func (k *socket) listen() {
	k.ws.SetReadLimit(int64(k.server.opts.maxEvent()))
	k.ws.SetPongHandler(k.ponged)
	k.ws.SetPingHandler(k.pinged)
	ended := make(chan bool)
	for end := false; !end; end = <-ended {
		k.out.awaitRead()
		go func() { ended <- k.read() }()
	}
	// What is still to be said may take so long: a write may be blocked.
	time.AfterFunc(closeGrace, func() { _ = k.out.conn.Close() })
	k.hint(hintGone)
}

// read hands on the messages that have come, and reports whether the connection has
// ended.
func (k *socket) read() (ended bool) {
	for {
		heartbeat, err := k.heartbeat()
		if !heartbeat {
			err = k.readMessage()
		}
		if err != nil {
			k.linger(err)
			return true
		}
		if k.conn.read.Buffered() == 0 {
			return false
		}
	}
}

// readMessage waits for a message and hands it on. An error is the end of what is read.
func (k *socket) readMessage() error {
	kind, text, err := k.ws.ReadMessage()
	switch {
	case errors.Is(err, websocket.ErrReadLimit):
		k.hangUpWith(websocket.CloseMessageTooBig, "")
	case err == nil && kind != websocket.TextMessage:
		k.hangUpWith(websocket.CloseUnsupportedData, "frames are text here")
		return problem.ErrMessage
	case err == nil:
		return k.take(text)
	}
	return err
}

// pacing notes that the client lives, and says whether it talks too fast. An error means
// that it is listened to no longer, and is told so once all that it asked for is answered.
func (k *socket) pacing() (tooFast bool, err error) {
	k.missed.Store(0)
	tooFast, flood := k.pace.count()
	if tooFast {
		k.server.metrics.hit(limitMessages, 1)
	}
	if !flood {
		return tooFast, nil
	}
	k.mu.Lock()
	k.flooding, k.leaving = true, true
	k.mu.Unlock()
	k.server.crew.wake(&k.task)
	return true, problem.ErrDraining
}

// take has a message answered in its turn. An error means that the client is listened to
// no longer.
func (k *socket) take(text []byte) error {
	tooFast, err := k.pacing()
	if err == nil && !k.hear(message{text, tooFast}) {
		err = problem.ErrDraining
	}
	return err
}

// heartbeat takes a whole ping or pong off what has come, and reports whether there was
// one. The library would do the same and then wait for a message, which may never come:
// each client that answers pings would cost a goroutine more for as long as it stays.
// What is no whole and proper one (RFC 6455, 5.5) is the library's, as are those within
// a message. An error is pacing's.
func (k *socket) heartbeat() (taken bool, err error) {
	const first = 2 + 4 // bytes before the payload, the mask included
	head, err := k.conn.read.Peek(2)
	if err != nil {
		return false, nil // whoever reads next finds the same
	}
	opcode, size := int(head[0]&0x0f), int(head[1]&0x7f)
	if head[0]&0xf0 != 0x80 || opcode != websocket.PingMessage && opcode != websocket.PongMessage || head[1]&0x80 == 0 || size > 125 {
		return false, nil
	}
	frame, err := k.conn.read.Peek(first + size)
	if err != nil {
		return false, nil
	}
	payload := bytes.Clone(frame[first:])
	for i := range payload {
		payload[i] ^= frame[2+i%4]
	}
	_, _ = k.conn.read.Discard(len(frame)) // which was there
	if opcode == websocket.PingMessage {
		return true, k.pinged(string(payload))
	}
	return true, k.ponged("")
}

// pinged answers a ping.
func (k *socket) pinged(payload string) error {
	_, err := k.pacing()
	if err == nil {
		k.write(websocket.PongMessage, []byte(payload))
	}
	return err
}

// ponged notes an answer to one.
func (k *socket) ponged(string) error {
	_, err := k.pacing()
	return err
}

// write has the task write a control frame. The library does not write another after
// a close frame.
func (k *socket) write(opcode int, payload []byte) {
	_ = k.ws.WriteControl(opcode, payload, time.Now().Add(handshakeLimit)) // into memory
}

// hangUpWith tells the client that the connection ends, and why. From then on it has
// closeGrace to agree.
func (k *socket) hangUpWith(code int, why string) {
	k.write(websocket.CloseMessage, websocket.FormatCloseMessage(code, why))
	k.boundRead()
}

func (k *socket) boundRead() { _ = k.conn.SetReadDeadline(time.Now().Add(closeGrace)) }

// linger reads what the client still sends after a close frame that it has not
// answered: closing over unread data would reset the connection, and the close
// frame could be lost with it. err is what ended the reading.
func (k *socket) linger(err error) {
	var answered *websocket.CloseError
	switch {
	case errors.Is(err, problem.ErrDraining): // which is said, and this bounded, once all is answered
	case errors.As(err, &answered), !k.saysBye():
		return
	default:
		k.boundRead()
	}
	_, _ = io.Copy(io.Discard, k.out.conn)
}

func (k *socket) saysBye() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.bye != nil
}

// hear puts a message in the line, waits while there are too many, and sees to it
// that somebody attends. It reports false if the client is not listened to any more.
func (k *socket) hear(m message) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	for !k.leaving && !k.deaf && len(k.asked) > 0 && (len(k.asked) >= maxAsked || k.askedBytes+len(m.text) > maxAskedBytes) {
		k.room.Wait()
	}
	if k.leaving || k.deaf {
		return false
	}
	k.asked = append(k.asked, m)
	k.askedBytes += len(m.text)
	if !k.attended {
		k.attended = true
		k.server.crew.start(k.attend)
	}
	return true
}

// attend serves messages until there are none.
func (k *socket) attend() {
	defer k.server.crew.wake(&k.task) // which may have waited for it
	defer func() {
		if p := recover(); p != nil {
			k.server.logPanic(p)
			_ = k.out.conn.Close() // which ends the reader, and then the task
			k.unattended()
		}
	}()
	for asked := k.takeAsked(); asked != nil; asked = k.takeAsked() {
		k.serve(asked)
	}
}

func (k *socket) unattended() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.attended = false
}

// takeAsked returns the messages that wait. If there are none, or nobody takes the
// answers, the attendant is done.
func (k *socket) takeAsked() []message {
	k.mu.Lock()
	defer k.mu.Unlock()
	asked := k.asked
	k.asked, k.askedBytes = nil, 0
	if k.deaf || asked == nil {
		k.attended = false
		return nil
	}
	k.room.Broadcast()
	return asked
}

// answer has the task write an answer, and waits while there are too many: a client
// that does not read its answers is not served.
func (k *socket) answer(a answer) {
	k.mu.Lock()
	for len(k.answers) >= maxAnswers && !k.deaf {
		k.room.Wait()
	}
	k.answers = append(k.answers, a) // also if nobody takes it: end does
	k.mu.Unlock()
	k.server.crew.wake(&k.task)
}
