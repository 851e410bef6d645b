package api

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// behind returns a server that believes proxies of 10.0.0.0/8, 2001:db8:a::/48 and, if
// said so, of its Unix socket.
func behind(t testing.TB, more ...string) *Server {
	t.Helper()
	o := &Options{}
	for _, text := range append(more, "10.0.0.0/8", "2001:db8:a::/48") {
		network, err := ParseProxy(text)
		if err != nil {
			t.Fatal(err)
		}
		o.TrustedProxies = append(o.TrustedProxies, network)
	}
	return New(nil, o)
}

// addr is netip.MustParseAddr, where "" is no address.
func addr(text string) netip.Addr {
	if text == "" {
		return netip.Addr{}
	}
	return netip.MustParseAddr(text)
}

// What proxies say is believed of proxies alone, from the right, up to the first that
// is none.
func TestClientBehindProxies(t *testing.T) {
	s := behind(t)
	const proxy = "10.0.0.1:4711"
	for _, tt := range []struct {
		peer             string
		usual, forwarded []string
		want             string
	}{
		{peer: "192.0.2.1:1", want: "192.0.2.1"},
		{peer: "[::ffff:192.0.2.1]:1", want: "192.0.2.1"},
		{peer: "[fe80::1%eth0]:1", want: "fe80::1"},
		{peer: "192.0.2.1:1", usual: []string{"10.9.9.9"}, forwarded: []string{"for=10.9.9.9"}, want: "192.0.2.1"},
		{peer: "@", usual: []string{"192.0.2.7"}, want: ""}, // a Unix socket
		{peer: "", usual: []string{"192.0.2.7"}, want: ""},

		{peer: proxy, want: "10.0.0.1"},
		{peer: "[::ffff:10.0.0.1]:1", usual: []string{"192.0.2.7"}, want: "192.0.2.7"},
		{peer: proxy, usual: []string{"192.0.2.7"}, want: "192.0.2.7"},
		{peer: proxy, usual: []string{"192.0.2.7:80"}, want: "192.0.2.7"},
		{peer: proxy, usual: []string{"::ffff:192.0.2.7"}, want: "192.0.2.7"},
		{peer: proxy, usual: []string{"2001:db8::7"}, want: "2001:db8::7"},
		{peer: proxy, usual: []string{"[2001:db8::7]"}, want: "2001:db8::7"},
		{peer: proxy, usual: []string{"[2001:db8::7]:80"}, want: "2001:db8::7"},
		{peer: proxy, usual: []string{"198.51.100.1, 192.0.2.7"}, want: "192.0.2.7"},
		{peer: proxy, usual: []string{"198.51.100.1", "192.0.2.7"}, want: "192.0.2.7"},
		{peer: proxy, usual: []string{"192.0.2.7, 10.1.1.1,2001:db8:a::1"}, want: "192.0.2.7"},
		{peer: proxy, usual: []string{"192.0.2.7, 10.1.1.1", "10.2.2.2"}, want: "192.0.2.7"},
		{peer: proxy, usual: []string{"10.3.3.3, 10.2.2.2"}, want: "10.3.3.3"},
		{peer: proxy, usual: []string{" , ,192.0.2.7, ,"}, want: "192.0.2.7"},
		{peer: proxy, usual: []string{"192.0.2.7, rubbish, 10.2.2.2"}, want: "10.2.2.2"},
		{peer: proxy, usual: []string{"192.0.2.7, fe80::1%eth0"}, want: "10.0.0.1"},
		{peer: proxy, usual: []string{"192.0.2.7" + strings.Repeat(", 10.2.2.2", maxHops)}, want: "10.2.2.2"},
		{peer: proxy, usual: []string{strings.Repeat("1", maxHop+1)}, want: "10.0.0.1"},

		{peer: proxy, forwarded: []string{"for=192.0.2.7"}, want: "192.0.2.7"},
		{peer: proxy, forwarded: []string{`proto=https;For="192.0.2.7:80";by=10.0.0.1`}, want: "192.0.2.7"},
		{peer: proxy, forwarded: []string{`for="[2001:db8::7]:80";host="a,b;c"`}, want: "2001:db8::7"},
		{peer: proxy, forwarded: []string{"for=198.51.100.1, for=192.0.2.7, for=10.1.1.1"}, want: "192.0.2.7"},
		{peer: proxy, forwarded: []string{"for=198.51.100.1", "for=192.0.2.7"}, want: "192.0.2.7"},
		{peer: proxy, forwarded: []string{"for=192.0.2.7, for=unknown"}, want: "10.0.0.1"},
		{peer: proxy, forwarded: []string{"for=192.0.2.7, for=_hidden, for=10.1.1.1"}, want: "10.1.1.1"},
		{peer: proxy, forwarded: []string{"for=192.0.2.7, proto=https"}, want: "10.0.0.1"},
		{peer: proxy, forwarded: []string{`for="x, for=192.0.2.7`}, want: "10.0.0.1"},
		{peer: proxy, forwarded: []string{`for="x`, `for=192.0.2.7`}, want: "192.0.2.7"},
		{peer: proxy, forwarded: []string{"for=192.0.2.7;for=192.0.2.8"}, want: "10.0.0.1"},
		{peer: proxy, forwarded: []string{""}, want: "10.0.0.1"},

		// The client wrote the one, the proxy the other, and nobody knows which.
		{peer: proxy, usual: []string{"192.0.2.7"}, forwarded: []string{"for=198.51.100.1"}, want: "10.0.0.1"},
		{peer: proxy, usual: []string{"192.0.2.7"}, forwarded: []string{`for="192.0.2.7:99"`}, want: "192.0.2.7"},
	} {
		r := &http.Request{RemoteAddr: tt.peer, Header: http.Header{}}
		if tt.usual != nil {
			r.Header["X-Forwarded-For"] = tt.usual
		}
		if tt.forwarded != nil {
			r.Header["Forwarded"] = tt.forwarded
		}
		if got := s.client(r); got != addr(tt.want) {
			t.Errorf("%s, X-Forwarded-For %q, Forwarded %q: %v, want %s", tt.peer, tt.usual, tt.forwarded, got, tt.want)
		}
	}
}

// A proxy on the other side of a Unix socket is believed where that is said.
func TestClientBehindUnixSocket(t *testing.T) {
	s := behind(t, "unix")
	for usual, want := range map[string]string{"192.0.2.7": "192.0.2.7", "192.0.2.7, 10.1.1.1": "192.0.2.7", "rubbish": ""} {
		r := &http.Request{RemoteAddr: "@", Header: http.Header{"X-Forwarded-For": {usual}}}
		if got := s.client(r); got != addr(want) {
			t.Errorf("%s: %v, want %q", usual, got, want)
		}
	}
}

func TestParseProxy(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.0/8": "10.0.0.0/8", "10.1.2.3/8": "10.0.0.0/8", "192.0.2.1": "192.0.2.1/32", "2001:db8::1": "2001:db8::1/128",
		"::ffff:10.0.0.0/104": "10.0.0.0/8", "::ffff:192.0.2.1": "192.0.2.1/32", "unix": "unix",
	} {
		if got, err := ParseProxy(text); err != nil || ProxyText(got) != want {
			t.Errorf("%s: %v %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "10.0.0.0/33", "proxy.example.com", "10.0.0.1:80", "fe80::1%eth0", "0.0.0.0/0", "::/0", "::ffff:0.0.0.0/96", "Unix"} {
		if got, err := ParseProxy(text); err == nil {
			t.Errorf("%q was taken as %v", text, got)
		}
	}
}

// Whatever a client writes, it can't be taken for another than the proxy says: at
// worst it is taken for the proxy.
func FuzzClient(f *testing.F) {
	f.Add("192.0.2.7, 10.1.1.1", `for="[2001:db8::7]:80";host="a,b;c", for=10.1.1.1`)
	f.Add(", rubbish", `for="x`)
	s := behind(f)
	proxy, truth := addr("10.0.0.1"), addr("203.0.113.7")
	f.Fuzz(func(t *testing.T, usual, standard string) {
		for _, header := range []http.Header{
			{"X-Forwarded-For": {usual + ", 203.0.113.7"}},
			{"X-Forwarded-For": {usual, "203.0.113.7"}},
			{"Forwarded": {standard + ", for=203.0.113.7"}},
			{"Forwarded": {standard, "for=203.0.113.7"}},
			{"X-Forwarded-For": {usual + ", 203.0.113.7"}, "Forwarded": {standard}},
			{"X-Forwarded-For": {usual}, "Forwarded": {standard + ", for=203.0.113.7"}},
		} {
			if got := s.client(&http.Request{RemoteAddr: "10.0.0.1:1", Header: header}); got != truth && got != proxy {
				t.Errorf("%q: %v", header, got)
			}
		}
	})
}

// A page of the server's own origin is known by Host alone, also where a proxy speaks
// TLS for the server. Of what proxies say about hosts and schemes nothing is used.
func TestOwnOriginBehindProxy(t *testing.T) {
	s := behind(t)
	for _, tt := range []struct {
		host, forwarded, origin string
		want                    bool
	}{
		{"app.example.com", "", "https://app.example.com", true},
		{"app.example.com:8443", "", "https://app.example.com:8443", true},
		{"node1:8080", "app.example.com", "https://app.example.com", false},
		{"app.example.com", "evil.example.com", "https://evil.example.com", false},
	} {
		r := &http.Request{RemoteAddr: "10.0.0.1:1", Host: tt.host, Header: http.Header{
			"Origin": {tt.origin}, "X-Forwarded-Host": {tt.forwarded}, "X-Forwarded-Proto": {"https"},
			"Forwarded": {"host=" + tt.forwarded},
		}}
		if got := s.fromPage(r); got != tt.want {
			t.Errorf("Host %s, X-Forwarded-Host %s, Origin %s: %v", tt.host, tt.forwarded, tt.origin, got)
		}
	}
}
