package load

import (
	"strconv"
	"time"
)

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
	Addr string // host:port, an IPv4 address
	How  string // one of the above
	Path string // of the request

	// Body is that of one request, or of one message on a WebSocket. Where Batch is
	// more than 1 it has {items} in place of {data}: Batch times Item, separated by
	// commas, all of one room.
	Body  string
	Item  string
	Batch int
}

// Rooms are so many rooms, named Prefix followed by First and the numbers after it.
type Rooms struct {
	Prefix string
	First  int
	Count  int
}

// Room is one room of that name followed by 0.
func Room(name string) Rooms { return Rooms{Prefix: name, Count: 1} }

// Name is that of room i, modulo Count.
func (r Rooms) Name(i int) string { return r.Prefix + strconv.Itoa(r.First+i%r.Count) }

// A Command is one thing for a Generator to do: the field that is not nil.
type Command struct {
	Open   *Open   `json:",omitempty"`
	Work   *Work   `json:",omitempty"`
	Pause  *Pause  `json:",omitempty"`
	Cut    *Cut    `json:",omitempty"`
	Resume *Resume `json:",omitempty"`
	Forget *Forget `json:",omitempty"`
}

// Open opens clients, and ends when each of them follows its room.
type Open struct {
	Follow  Follow
	Rooms   Rooms // client i follows room i
	Clients int
	AtOnce  int // connections that may be under way at once; 0 means 200
}

// Pause reads what comes, for a time.
type Pause struct{ Time time.Duration }

// Cut breaks the connections of all clients, as a line that breaks does: the server
// sees a reset.
type Cut struct{}

// Resume connects all clients again, each from where it was, and ends when each has
// all events that it is owed.
type Resume struct {
	AtOnce int // connections that may be under way at once; 0 means 200
}

// Forget closes all connections and forgets all rooms.
type Forget struct{}

// Work publishes, and ends when all is answered and each client has all events that
// it is owed.
type Work struct {
	To         []Publish // publisher i publishes to To[i], modulo their number
	Publishers int       // connections, at most 64
	Window     int       // requests without an answer on each of them; 0 means 1
	Rooms      Rooms     // request i is about room i
	Events     int       // how many; 0: for Time
	Time       time.Duration
	Rate       float64 // events a second, evenly spaced, whatever the answers do; 0: as fast as answers come
	Ahead      bool    // end when all is answered: the clients are away
	Latency    bool    // measure the time from the sending of each event to each delivery
	BadLines   *BadLines
}

// BadLines cut each client now and then while there is work: after an exponentially
// distributed time with the mean Up, for a time between half and one and a half
// times Down. The latency is then that from connecting to the last event that had been
// acknowledged by then, of those that missed one.
type BadLines struct{ Up, Down time.Duration }

// A Report is what a command came to.
type Report struct {
	Elapsed   time.Duration // from the first byte sent, or the first connect, to the last delivery
	Answered  time.Duration // from the first byte sent to the last answer
	Published int64         // events acknowledged
	Cuts      int64         // connections cut by BadLines

	// Of all clients, since Open.
	Delivered  int64 // distinct events
	Missing    int64
	Repeated   int64
	OutOfOrder int64
	Gaps       int64 // gap notices

	Latency Spread
}

// A Spread describes measured times.
type Spread struct {
	Count         int
	P50, P99, Max time.Duration
}
