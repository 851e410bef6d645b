package load

import (
	"strconv"
	"time"
)

// Protocols of clients.
const (
	// SSE is Server-Sent Events, as sent by Tidemark, nchan and package barewrites.
	SSE = "sse"
	// TidemarkWebSocket is the WebSocket subprotocol tidemark.v1.
	TidemarkWebSocket = "tidemark-websocket"
	// BareWebSocket is a WebSocket whose text frames are the events, as sent by nchan.
	BareWebSocket = "bare-websocket"
	// SocketIO is Socket.IO over engine.io 4, on a WebSocket from the start. The client
	// sends 42["join",room] and counts as open once it receives 42["joined"]. An event
	// is 42["event",data] or, if sessions can be recovered, 42["event",data,offset].
	SocketIO = "socketio"
)

// A Follow describes how a client follows a room.
type Follow struct {
	Addr     string // host:port, an IPv4 address
	Protocol string // one of the constants above
	Path     string // of the GET request; {room} is replaced by the room's name
}

// Ways to publish.
const (
	// Post sends one HTTP request per event or per batch of events.
	Post = "post"
	// PublishWebSocket publishes over a WebSocket with the subprotocol tidemark.v1.
	PublishWebSocket = "tidemark-websocket"
)

// A Publish describes how a publisher publishes. {room} in Path, Body and Item is
// replaced by the room's name. {data} in Body and Item is replaced by the event's data,
// a JSON string.
type Publish struct {
	Addr string // host:port, an IPv4 address
	How  string // one of the constants above
	Path string // of the request

	// Body is the body of one request or WebSocket message. If Batch is more than 1,
	// Body contains {items} instead of {data}. {items} is replaced by Batch copies of
	// Item, separated by commas, all of one room.
	Body  string
	Item  string
	Batch int
}

// Rooms describes Count rooms, named Prefix followed by the numbers from First.
type Rooms struct {
	Prefix string
	First  int
	Count  int
}

// Room describes one room, whose name is the given name followed by 0.
func Room(name string) Rooms { return Rooms{Prefix: name, Count: 1} }

// Name returns the name of room i modulo Count.
func (r Rooms) Name(i int) string { return r.Prefix + strconv.Itoa(r.First+i%r.Count) }

// A Command is one task for a Generator. Exactly one field must be set.
type Command struct {
	Open   *Open   `json:",omitempty"`
	Work   *Work   `json:",omitempty"`
	Pause  *Pause  `json:",omitempty"`
	Cut    *Cut    `json:",omitempty"`
	Resume *Resume `json:",omitempty"`
	Reset  *Reset  `json:",omitempty"`
}

// Open opens clients and ends when each of them follows its room.
type Open struct {
	Follow        Follow
	Rooms         Rooms // client i follows room i
	Clients       int
	MaxConnecting int // limit of simultaneous connection attempts; 0 means 200
}

// Pause reads incoming messages for the given time.
type Pause struct{ Time time.Duration }

// Cut breaks the connections of all clients. The server sees a TCP reset.
type Cut struct{}

// Resume reconnects all clients, each from its cursor, and ends when each has every
// event it missed.
type Resume struct {
	MaxConnecting int // limit of simultaneous connection attempts; 0 means 200
}

// Reset closes all connections and clears all counts and rooms.
type Reset struct{}

// Work publishes events. It ends when every publish is answered and every client has
// received its events.
type Work struct {
	To          []Publish // publisher i uses To[i], modulo their number
	Publishers  int       // connections, at most 64
	Window      int       // unanswered requests per connection; 0 means 1
	Rooms       Rooms     // request i goes to room i
	Events      int       // number of events; 0 means to publish for Time
	Time        time.Duration
	Rate        float64 // events per second, evenly spaced, independent of the answers; 0 means as fast as answers arrive
	ClientsAway bool    // end once every publish is answered, because no client is connected
	Latency     bool    // measure the time from sending each event to each delivery
	Disconnects *Disconnects
}

// Disconnects breaks each client's connection repeatedly while there is work. The time
// connected is exponentially distributed with the mean Up. The time disconnected is
// uniform between 0.5 and 1.5 times Down.
//
// The measured latency is then the duration of a replay: from the reconnect to the last
// event acknowledged before it. Clients that missed no event are not measured.
type Disconnects struct{ Up, Down time.Duration }

// A Report is the result of a command.
type Report struct {
	Elapsed   time.Duration // from the first byte sent, or the first connection attempt, to the last delivery
	Answered  time.Duration // from the first byte sent to the last answer
	Published int64         // events acknowledged
	Cuts      int64         // connections broken by Disconnects

	// Totals of all clients since Open.
	Delivered  int64 // distinct events
	Missing    int64
	Repeated   int64
	OutOfOrder int64
	Gaps       int64 // gap notices

	Latency Distribution
}

// A Distribution summarizes measured times.
type Distribution struct {
	Count         int
	P50, P99, Max time.Duration
}
