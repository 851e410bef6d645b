package serve

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
)

const (
	// maxSocketPath bounds a path, in bytes. Every system's sockaddr_un has room for it.
	maxSocketPath = 103

	// socketMode lets the server's own user and group connect, for example a proxy that
	// was added to the group.
	socketMode = 0o660

	// socketDialWait bounds the attempt to find out whether a process listens on a socket.
	socketDialWait = 10 * time.Second
)

// checkSocketPath refuses a path that a socket can't have. The system's own error would not
// say why.
func checkSocketPath(path string) error {
	if path == "" || len(path) > maxSocketPath {
		return cli.UsageError(fmt.Sprintf("--listen unix:%s: want unix: and a path of 1 to %d bytes", path, maxSocketPath))
	}
	return nil
}

// listenUnix listens on a Unix socket. It replaces the file of a process that has ended.
// Closing the listener removes the file.
func listenUnix(path string) (net.Listener, error) {
	if err := removeStaleSocket(path); err != nil {
		return nil, err
	}
	config := net.ListenConfig{Control: setSocketMode}
	l, err := config.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // unixListener removes the file
	own, err := os.Lstat(path)
	if err != nil {
		l.Close()
		return nil, err
	}
	u := &unixListener{Listener: l, path: path, own: own}
	if err := os.Chmod(path, socketMode); err != nil { // the umask may have removed permissions
		u.Close()
		return nil, err
	}
	return u, nil
}

// A unixListener removes its file when it is closed, unless another process has replaced the
// file: the next node may already listen there.
type unixListener struct {
	net.Listener
	path string
	own  fs.FileInfo // identifies the file; its inode stays taken while the socket is open
	once sync.Once
}

// Close implements net.Listener.
func (l *unixListener) Close() error {
	l.once.Do(func() {
		if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.own) {
			_ = os.Remove(l.path) // on failure the next node treats the file as stale
		}
	})
	return l.Listener.Close()
}

// removeStaleSocket removes the socket at path if no process listens on it.
func removeStaleSocket(path string) error {
	switch info, err := os.Lstat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s exists and is not a socket: remove it or choose another path", path)
	}
	c, err := net.DialTimeout("unix", path, socketDialWait)
	if err == nil {
		c.Close()
		return fmt.Errorf("%s: another process listens on it: stop that process or choose another path", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}
