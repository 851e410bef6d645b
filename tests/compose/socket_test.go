package compose

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/tests/internal/follow"
	"github.com/tidemark/tidemark/tests/internal/wait"
)

// listen follows room over WebSocket after the cursor since, until the test ends. It
// resumes with its cursor when the connection breaks, as an application does.
func listen(t *testing.T, url, room, since string) *follow.Client {
	t.Helper()
	return follow.Start(t, follow.Options{
		Transport: follow.WebSocket, Rooms: []string{room}, Cursor: since, Retry: 100 * time.Millisecond,
		Dial: func() (net.Conn, error) {
			return net.DialTimeout("tcp", strings.TrimPrefix(url, "http://"), wait.Limit)
		},
		OnMessage: func(m follow.Message) error {
			if m.Kind == follow.Gap || m.Kind == follow.Error {
				t.Errorf("WebSocket: %+v", m)
			}
			return nil
		},
	})
}
