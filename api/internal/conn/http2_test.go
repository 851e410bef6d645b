package conn

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"
)

// A write to a stream that was closed returns net.ErrClosed. Only a deadline returns
// os.ErrDeadlineExceeded, which the access log reports as a client that did not read.
func TestHTTP2StreamErrors(t *testing.T) {
	for _, tt := range []struct {
		name string
		end  func(Transport)
		want error
	}{
		{"closed", func(t Transport) { go t.Close() }, net.ErrClosed},
		{"overdue", func(t Transport) { _ = t.SetWriteDeadline(time.Now().Add(time.Millisecond)) }, os.ErrDeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ended := make(chan error, 1)
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				stream := NewHTTP2Transport(w, r)
				defer stream.Close()
				tt.end(stream)
				_, err := stream.Write(make([]byte, 64<<20)) // exceeds the flow control window
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
