package ws

// A state is a session's place on its way from the handshake to the end. It only moves
// forward: a session that drains can still be found flooding or expired, and is then
// closed for that reason.
//
//	from                   event                                  to
//	stateOpen              the node drains                        stateDraining
//	open or draining       the client sends far too much          stateFlooding
//	any of these           the grant ends                         stateExpired
//	any of these           its messages exceed the node's memory  stateOverloaded
//	any of these           a close frame is written               stateClosing
//	any                    the transport is closed                stateClosed
//
// From stateDraining on, new messages are not read; the close frame follows the answers
// to the messages already read. From stateExpired on, no events are written. From
// stateOverloaded on, waiting messages and new answers are dropped. From stateClosing on,
// nothing is written.
type state int

const (
	stateOpen state = iota
	stateDraining
	stateFlooding
	stateExpired
	stateOverloaded
	stateClosing
	stateClosed
)
