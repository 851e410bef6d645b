package conn

// A Protocol is the way in which a client follows rooms.
type Protocol uint8

const (
	SSE Protocol = iota
	WebSocket
	Protocols // the number of protocols
)

// String returns the protocol's name in metrics, where the label is called "transport".
func (p Protocol) String() string { return [...]string{"sse", "websocket"}[p] }
