package api

import (
	"net/http"
	"testing"
)

// The Host header alone decides whether a page is of the server's own origin, also behind
// a proxy that terminates TLS. X-Forwarded-Host, X-Forwarded-Proto and Forwarded do not
// count.
func TestOwnOriginBehindProxy(t *testing.T) {
	var o origins
	for _, tt := range []struct {
		host, forwarded, origin string
		want                    bool
	}{
		{"app.example.com", "", "https://app.example.com", true},
		{"app.example.com:8443", "", "https://app.example.com:8443", true},
		{"app.example.com:8443", "", "https://app.example.com", false}, // another port is another origin
		{"app.example.com", "", "https://app.example.com:8443", false},
		{"app.example.com:8443", "", "https://app.example.com:9443", false},
		{"node1:8080", "app.example.com", "https://app.example.com", false},
		{"app.example.com", "evil.example.com", "https://evil.example.com", false},
	} {
		r := &http.Request{RemoteAddr: "10.0.0.1:1", Host: tt.host, Header: http.Header{
			"Origin": {tt.origin}, "X-Forwarded-Host": {tt.forwarded}, "X-Forwarded-Proto": {"https"},
			"Forwarded": {"host=" + tt.forwarded},
		}}
		if got := o.allowPage(r); got != tt.want {
			t.Errorf("Host %s, X-Forwarded-Host %s, Origin %s: %v", tt.host, tt.forwarded, tt.origin, got)
		}
	}
}
