package redistest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"time"
)

// startWait bounds how long a server may take to answer its first PING. A loaded machine
// needs most of a second; a server that loads an append-only file needs more.
const startWait = 20 * time.Second

// A backend is one running Redis: a process or a container.
type backend interface {
	addr() string
	stop() error    // in order, as an operator would
	kill() error    // at once; nothing is flushed
	restart() error // with the same address and data, after stop or kill
	pause() error   // stops execution and keeps the connections
	resume() error
	close() // stops the server and removes its files
}

// awaitPing returns nil once the server at addr answers, or the reason why it does not.
// alive returns an error once the server has ended.
func awaitPing(addr string, alive func() error) error {
	deadline := time.Now().Add(startWait)
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		err := ping(addr, deadline)
		if err == nil {
			return nil
		}
		if dead := alive(); dead != nil {
			return dead
		}
		if now := <-poll.C; now.After(deadline) {
			return err
		}
	}
}

// ping sends one PING. It does not use go-redis, which logs every refused connection.
func ping(addr string, deadline time.Time) error {
	conn, err := net.DialTimeout("tcp", addr, time.Until(deadline))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
		return err
	}
	reply, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && reply != "+PONG\r\n" {
		err = fmt.Errorf("PING was answered %q", reply)
	}
	return err
}
