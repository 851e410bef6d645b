package load

// The protocols that clients speak.
const (
	// SSE is Server-Sent Events: Tidemark's, nchan's and the write floor's.
	SSE = "sse"
	// TidemarkSocket is the WebSocket subprotocol tidemark.v1.
	TidemarkSocket = "tidemark-websocket"
	// BareSocket is a WebSocket whose text frames are the events: nchan's.
	BareSocket = "bare-websocket"
	// SocketIO is Socket.IO over engine.io 4, on a WebSocket from the start. The
	// client sends 42["join",room] and expects 42["joined"] before it counts as open;
	// an event is 42["event",data] or, where sessions can be recovered,
	// 42["event",data,offset].
	SocketIO = "socketio"
)

// A Follow says how a client follows a room.
type Follow struct {
	Addr     string // host:port, an IPv4 address
	Protocol string // one of the above
	Path     string // of the GET; {room} stands for the room's name
}

// The ways to publish.
const (
	// Post is one HTTP request for each event, or each batch of them.
	Post = "post"
	// PublishSocket publishes over a WebSocket of the subprotocol tidemark.v1.
	PublishSocket = "tidemark-websocket"
)

// A Publish says how a publisher publishes. In Path, Body and Item {room} stands for
// the room's name, and in Body and Item {data} for the event's data, a JSON string.
type Publish struct {
	Addr string
	How  string // one of the above
	Path string // of the request

	// Body is that of one request, or of one message on a WebSocket. Where Batch is more than
	// 1 it has {items} in place of {data}: Batch times Item, separated by commas.
	Body  string
	Item  string
	Batch int
}
