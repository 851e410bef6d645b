package main

import (
	"net"
	"os"
)

// What a service manager is told.
const (
	notifyReady    = "READY=1"
	notifyStopping = "STOPPING=1"
)

// notify tells the service manager that started this process, if one wants to know, how
// far it is (systemd's sd_notify(3)).
func notify(state string) error {
	address := os.Getenv("NOTIFY_SOCKET")
	if address == "" {
		return nil
	}
	conn, err := net.Dial("unixgram", address) // an @ stands for the abstract name space here too
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte(state))
	return err
}

func (s *server) notify(state string) {
	if err := notify(state); err != nil {
		s.logger.Warn("the service manager can't be told", "state", state, "error", err)
	}
}
