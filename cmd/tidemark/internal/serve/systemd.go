package serve

import (
	"log/slog"
	"net"
	"os"
)

// States that a service manager understands.
const (
	notifyReady    = "READY=1"
	notifyStopping = "STOPPING=1"
)

// notifyServiceManager reports the node's state to the service manager that started it, if
// that manager asks for reports with NOTIFY_SOCKET (systemd, sd_notify(3)). A failure is
// only logged: the node can serve without the manager.
func notifyServiceManager(state string, logger *slog.Logger) {
	if err := sendNotification(state); err != nil {
		logger.Warn("could not notify the service manager", "state", state, "error", err)
	}
}

func sendNotification(state string) error {
	address := os.Getenv("NOTIFY_SOCKET")
	if address == "" {
		return nil
	}
	conn, err := net.Dial("unixgram", address) // Go also reads a leading @ as the abstract namespace
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte(state))
	return err
}
