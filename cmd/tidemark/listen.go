package main

import (
	"context"
	"net"
	"time"
)

// What TCP is to find out by itself about clients that vanish without a word: a
// laptop that sleeps, a line that drops all packets. Writing does not tell: what is
// written waits in the system's buffer.
const (
	// silenceWait bounds how long a client may acknowledge nothing of what it was
	// sent, or take nothing of it. A client that stalls for a minute stays. After
	// the 15 s of silence in which every stream is sent something, it is less than
	// the 105 s in which a WebSocket misses its pings; the system's timers are
	// coarse, and add a few seconds.
	silenceWait = 80 * time.Second
	// probeEvery is how long a connection on which nothing is sent may be silent
	// before TCP asks whether the client is there, and how often it asks.
	probeEvery = silenceWait / 4
)

// listenTCP listens on addr, for connections that end when their client has been
// silent for silenceWait. (Where the system can't bound what is sent and not
// acknowledged, that takes as long as its TCP tries, often a quarter of an hour.)
func listenTCP(addr *net.TCPAddr) (net.Listener, error) {
	config := net.ListenConfig{
		Control: limitSilence,
		KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: probeEvery, Interval: probeEvery, Count: int(silenceWait / probeEvery),
		},
	}
	config.SetMultipathTCP(false) // its sockets don't take the limit
	return config.Listen(context.Background(), "tcp", addr.String())
}
