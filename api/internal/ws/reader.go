package ws

import (
	"bytes"
	"errors"
	"io"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidemark/tidemark/api/internal/problem"
)

// messageOverhead is the memory, in bytes, that a waiting message takes besides its text.
const messageOverhead = 256

// maxLinger bounds the data, in bytes, that is read after a close frame which the client does
// not answer. It is more than a client sends before it has seen the close frame.
const maxLinger = 1 << 20

// read is the session's reader. It reads until the connection ends. It waits with little on
// its stack and reads in another goroutine when data has arrived: the stack of a goroutine
// that waits is most of the memory of an idle session.
func (k *Session) read() {
	k.ws.SetReadLimit(int64(k.server.opts.MaxMessage))
	k.ws.SetPongHandler(k.pongReceived)
	k.ws.SetPingHandler(k.pingReceived)
	ended := make(chan bool)
	for end := false; !end; end = <-ended {
		k.AwaitRead()
		go func() { ended <- k.readAvailable() }()
	}
	// A blocked write may take this long for the remaining frames.
	time.AfterFunc(closeTimeout, func() { _ = k.Transport().Close() })
	k.EndReading()
}

// readAvailable reads the messages that have arrived, and reports whether the connection
// has ended.
func (k *Session) readAvailable() (ended bool) {
	for {
		heartbeat, err := k.readHeartbeat()
		if !heartbeat {
			err = k.readMessage()
		}
		if err != nil {
			k.linger(err)
			return true
		}
		if k.upgraded.read.Buffered() == 0 {
			return false
		}
	}
}

// readMessage waits for a message and puts it into the message queue. An error ends the
// reading.
func (k *Session) readMessage() error {
	kind, r, err := k.ws.NextReader()
	var m message
	if err == nil {
		m, err = k.readText(r)
	}
	switch {
	case err != nil && k.queues.dropping():
		k.boundRead() // instead of the deadline that overload has set
		return problem.ErrDraining
	case errors.Is(err, websocket.ErrReadLimit):
		k.closeWith(websocket.CloseMessageTooBig, "")
	case err == nil && kind != websocket.TextMessage:
		m.share.Release()
		k.closeWith(websocket.CloseUnsupportedData, "send text frames only")
		return problem.ErrMessage
	case err == nil:
		return k.receive(m)
	}
	return err
}

// readText reads a message. Its memory is counted before it is used.
func (k *Session) readText(r io.Reader) (m message, err error) {
	m.text = make([]byte, 0, readBuffer)
	m.share = k.server.opts.Bodies.Hold(messageOverhead+readBuffer, k.overload)
	for {
		n, err := r.Read(m.text[len(m.text):cap(m.text)])
		m.text = m.text[:len(m.text)+n]
		switch {
		case err == io.EOF:
			return m, nil
		case err != nil:
			m.share.Release()
			return message{}, err
		case len(m.text) == cap(m.text):
			m.share.Grow(int64(cap(m.text)))
			m.text = append(make([]byte, 0, 2*cap(m.text)), m.text...)
		}
	}
}

// overload ends the session because the node cannot keep its messages. It is called by the
// pool, in any goroutine, and does not call the pool.
func (k *Session) overload() {
	k.queues.overload()
	_ = k.upgraded.SetReadDeadline(time.Unix(1, 0)) // in the past: ends the reading
	k.Wake()
}

// receive puts a message into the message queue, and starts the handler if it does not
// run. An error means that the session reads no more messages.
func (k *Session) receive(m message) error {
	refuse, err := k.countMessage()
	if err != nil {
		m.share.Release()
		return err
	}
	m.refuse = refuse || k.refusing
	k.refusing = false
	accepted, start := k.queues.put(m)
	if !accepted {
		m.share.Release()
		return problem.ErrDraining
	}
	if start {
		k.Env.Scheduler.Go(k.handle)
	}
	return nil
}

// countMessage notes that the client is alive and counts a message, ping or pong. refuse
// means that it must be refused. An error means that the client sends far too much: the
// session reads no more, and closes after the remaining answers.
func (k *Session) countMessage() (refuse bool, err error) {
	k.unanswered.Store(0)
	refuse, flood := k.limiter.count()
	if refuse {
		k.server.opts.Refused.Inc()
	}
	if !flood {
		return refuse, nil
	}
	k.queues.advance(stateFlooding)
	k.Wake()
	return true, problem.ErrDraining
}

// countFrame counts the small parts of a message like messages.
func (k *Session) countFrame(h frameHead) error {
	if !h.smallPart() {
		return nil
	}
	refuse, err := k.countMessage()
	k.refusing = k.refusing || refuse
	return err
}

// readHeartbeat takes a complete ping or pong out of the read buffer, and reports whether
// one was there. The library would do the same, but then wait for a message that may never
// come: every client that answers pings would cost one more goroutine. An incomplete or
// malformed frame (RFC 6455, section 5.5) and one within a message are left to the
// library. The error is countMessage's.
func (k *Session) readHeartbeat() (taken bool, err error) {
	const headLen = 2 + 4 // with the mask
	head, err := k.upgraded.read.Peek(2)
	if err != nil {
		return false, nil // the library reports the same error
	}
	opcode, size := int(head[0]&0x0f), int(head[1]&0x7f)
	if head[0]&0xf0 != 0x80 || opcode != websocket.PingMessage && opcode != websocket.PongMessage || head[1]&0x80 == 0 || size > 125 {
		return false, nil
	}
	frame, err := k.upgraded.read.Peek(headLen + size)
	if err != nil {
		return false, nil
	}
	payload := bytes.Clone(frame[headLen:])
	for i := range payload {
		payload[i] ^= frame[2+i%4]
	}
	_, _ = k.upgraded.read.Discard(len(frame)) // cannot fail after Peek
	if opcode == websocket.PingMessage {
		return true, k.pingReceived(string(payload))
	}
	return true, k.pongReceived("")
}

// pingReceived answers a ping.
func (k *Session) pingReceived(payload string) error {
	_, err := k.countMessage()
	if err == nil {
		k.writeControl(websocket.PongMessage, []byte(payload))
	}
	return err
}

func (k *Session) pongReceived(string) error {
	_, err := k.countMessage()
	return err
}

// linger discards the data that the client still sends after a close frame which it has
// not answered. Closing with unread data would reset the connection, and the close frame
// could be lost. err is the error that ended the reading.
func (k *Session) linger(err error) {
	var answered *websocket.CloseError
	switch {
	case errors.Is(err, problem.ErrDraining): // the close frame follows the remaining answers, and bounds the read
	case errors.As(err, &answered), k.queues.queuedClose() == nil:
		return
	default:
		k.boundRead()
	}
	_, _ = io.CopyN(io.Discard, k.Transport(), maxLinger)
}
