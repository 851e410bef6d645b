package clientip

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

// behind returns the proxies of 10.0.0.0/8 and 2001:db8:a::/48, and of more.
func behind(t testing.TB, more ...string) (proxies Proxies) {
	t.Helper()
	for _, text := range append(more, "10.0.0.0/8", "2001:db8:a::/48") {
		network, err := ParseProxy(text)
		if err != nil {
			t.Fatal(err)
		}
		proxies = append(proxies, network)
	}
	return proxies
}

// addr is netip.MustParseAddr, except that "" gives the zero Addr.
func addr(text string) netip.Addr {
	if text == "" {
		return netip.Addr{}
	}
	return netip.MustParseAddr(text)
}

// The headers of proxies count only if a trusted proxy sent them, from right to left, up to
// the first address that is not a trusted proxy.
func TestClientBehindProxies(t *testing.T) {
	proxies := behind(t)
	const proxy = "10.0.0.1:4711"
	for _, tt := range []struct {
		peer           string
		xff, forwarded []string
		want           string
	}{
		{peer: "192.0.2.1:1", want: "192.0.2.1"},
		{peer: "[::ffff:192.0.2.1]:1", want: "192.0.2.1"},
		{peer: "[fe80::1%eth0]:1", want: "fe80::1"},
		{peer: "192.0.2.1:1", xff: []string{"10.9.9.9"}, forwarded: []string{"for=10.9.9.9"}, want: "192.0.2.1"},
		{peer: "@", xff: []string{"192.0.2.7"}, want: ""}, // a Unix socket
		{peer: "", xff: []string{"192.0.2.7"}, want: ""},

		{peer: proxy, want: "10.0.0.1"},
		{peer: "[::ffff:10.0.0.1]:1", xff: []string{"192.0.2.7"}, want: "192.0.2.7"},
		{peer: proxy, xff: []string{"192.0.2.7"}, want: "192.0.2.7"},
		{peer: proxy, xff: []string{"192.0.2.7:80"}, want: "192.0.2.7"},
		{peer: proxy, xff: []string{"::ffff:192.0.2.7"}, want: "192.0.2.7"},
		{peer: proxy, xff: []string{"2001:db8::7"}, want: "2001:db8::7"},
		{peer: proxy, xff: []string{"[2001:db8::7]"}, want: "2001:db8::7"},
		{peer: proxy, xff: []string{"[2001:db8::7]:80"}, want: "2001:db8::7"},
		{peer: proxy, xff: []string{"198.51.100.1, 192.0.2.7"}, want: "192.0.2.7"},
		{peer: proxy, xff: []string{"198.51.100.1", "192.0.2.7"}, want: "192.0.2.7"},
		{peer: proxy, xff: []string{"192.0.2.7, 10.1.1.1,2001:db8:a::1"}, want: "192.0.2.7"},
		{peer: proxy, xff: []string{"192.0.2.7, 10.1.1.1", "10.2.2.2"}, want: "192.0.2.7"},
		{peer: proxy, xff: []string{"10.3.3.3, 10.2.2.2"}, want: "10.3.3.3"},
		{peer: proxy, xff: []string{" , ,192.0.2.7, ,"}, want: "192.0.2.7"},
		{peer: proxy, xff: []string{"192.0.2.7, rubbish, 10.2.2.2"}, want: "10.2.2.2"},
		{peer: proxy, xff: []string{"192.0.2.7, fe80::1%eth0"}, want: "10.0.0.1"},
		{peer: proxy, xff: []string{"192.0.2.7" + strings.Repeat(", 10.2.2.2", maxHops)}, want: "10.2.2.2"},
		{peer: proxy, xff: []string{strings.Repeat("1", maxHop+1)}, want: "10.0.0.1"},

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

		// The client wrote one header and the proxy the other; the server cannot tell which.
		{peer: proxy, xff: []string{"192.0.2.7"}, forwarded: []string{"for=198.51.100.1"}, want: "10.0.0.1"},
		{peer: proxy, xff: []string{"192.0.2.7"}, forwarded: []string{`for="192.0.2.7:99"`}, want: "192.0.2.7"},
	} {
		r := &http.Request{RemoteAddr: tt.peer, Header: http.Header{}}
		if tt.xff != nil {
			r.Header["X-Forwarded-For"] = tt.xff
		}
		if tt.forwarded != nil {
			r.Header["Forwarded"] = tt.forwarded
		}
		if got := proxies.Client(r); got != addr(tt.want) {
			t.Errorf("%s, X-Forwarded-For %q, Forwarded %q: %v, want %s", tt.peer, tt.xff, tt.forwarded, got, tt.want)
		}
	}
}

// A proxy on a Unix socket is trusted if "unix" is listed.
func TestClientBehindUnixSocket(t *testing.T) {
	proxies := behind(t, "unix")
	for xff, want := range map[string]string{"192.0.2.7": "192.0.2.7", "192.0.2.7, 10.1.1.1": "192.0.2.7", "rubbish": ""} {
		r := &http.Request{RemoteAddr: "@", Header: http.Header{"X-Forwarded-For": {xff}}}
		if got := proxies.Client(r); got != addr(want) {
			t.Errorf("%s: %v, want %q", xff, got, want)
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
			t.Errorf("%q was accepted as %v", text, got)
		}
	}
}

// A client that writes the headers itself cannot appear as another client: it appears
// under its own address or the proxy's.
func FuzzClient(f *testing.F) {
	f.Add("192.0.2.7, 10.1.1.1", `for="[2001:db8::7]:80";host="a,b;c", for=10.1.1.1`)
	f.Add(", rubbish", `for="x`)
	proxies := behind(f)
	proxy, client := addr("10.0.0.1"), addr("203.0.113.7")
	f.Fuzz(func(t *testing.T, xff, standard string) {
		for _, header := range []http.Header{
			{"X-Forwarded-For": {xff + ", 203.0.113.7"}},
			{"X-Forwarded-For": {xff, "203.0.113.7"}},
			{"Forwarded": {standard + ", for=203.0.113.7"}},
			{"Forwarded": {standard, "for=203.0.113.7"}},
			{"X-Forwarded-For": {xff + ", 203.0.113.7"}, "Forwarded": {standard}},
			{"X-Forwarded-For": {xff}, "Forwarded": {standard + ", for=203.0.113.7"}},
		} {
			if got := proxies.Client(&http.Request{RemoteAddr: "10.0.0.1:1", Header: header}); got != client && got != proxy {
				t.Errorf("%q: %v", header, got)
			}
		}
	})
}
