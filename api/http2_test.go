package api

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"
)

// A stream that was closed says so to whoever writes, and does not blame the client for
// not having read: that is said of a deadline alone, and in the access log.
func TestSharedConnSaysWhyItEnds(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(*sharedConn)
		want error
	}{
		{"closed", func(c *sharedConn) { go c.Close() }, net.ErrClosed},
		{"overdue", func(c *sharedConn) { _ = c.SetWriteDeadline(time.Now().Add(time.Millisecond)) }, os.ErrDeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ended := make(chan error, 1)
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c := newSharedConn(w, r)
				defer c.Close()
				tt.end(c)
				_, err := c.Write(make([]byte, 64<<20)) // more than the client has room for
				ended <- err
			}))
			server.EnableHTTP2 = true
			server.StartTLS()
			defer server.Close()
			resp, err := server.Client().Get(server.URL)
			if err == nil {
				defer resp.Body.Close()
			}
			if err := <-ended; !errors.Is(err, tt.want) {
				t.Errorf("the write ends with %v, want %v", err, tt.want)
			}
		})
	}
}
