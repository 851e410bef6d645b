package serve

import (
	"context"
	"net"
	"time"
)

// TCP has to detect clients that vanish without closing the connection: a laptop goes to
// sleep, or a network drops all packets. Writing does not detect them, because the system
// buffers the data.
const (
	// maxSilence bounds how long a client may acknowledge none of the data sent to it, or
	// accept none of it. A client may stall for a minute. Every stream is sent something
	// after at most 15 s of silence; together that is less than the 105 s after which a
	// WebSocket fails its pings. The system's timers are coarse and add a few seconds.
	maxSilence = 80 * time.Second
	// probeEvery is how long a connection may be silent before TCP sends a keep-alive
	// probe, and the interval between probes.
	probeEvery = maxSilence / 4

	// maxNotSent is the data, in bytes, that the system accepts for a client beyond the data
	// that is on its way. By default, Linux lets the buffer of a client that does not read
	// grow to 4 MiB: 400 such clients held 1.5 GB of kernel memory, which a container counts.
	maxNotSent = 256 << 10
)

// listenTCP listens on addr. A connection ends when its client has been silent for
// maxSilence. On systems without a limit for unacknowledged data, that takes as long as
// TCP retries, often 15 minutes.
func listenTCP(addr *net.TCPAddr) (net.Listener, error) {
	config := net.ListenConfig{
		Control: setTCPLimits,
		KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: probeEvery, Interval: probeEvery, Count: int(maxSilence / probeEvery),
		},
	}
	config.SetMultipathTCP(false) // its sockets do not accept the limit
	return config.Listen(context.Background(), "tcp", addr.String())
}
