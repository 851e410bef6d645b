package main

import (
	"bytes"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/certtest"
	"github.com/tidemark/tidemark/tests/program"
)

// No log and no answer contains a credential: valid or not, in every place of a request, on good
// and bad requests, with debug and access logs, with and without TLS, over HTTP/1.1 and HTTP/2.
// (Package program also searches the log of every process that a test starts.)
func TestLogsHoldNoCredential(t *testing.T) {
	t.Parallel()
	key, hash := newKey(t)
	good := mint(t, testSecret, "--sub=ann", "--subscribe=chat:*", "--publish=chat:*")
	credentials := []string{
		good, key,
		mint(t, strings.Repeat("x", 40), "--sub=ann", "--subscribe=*"), // with an unknown secret
		good[:len(good)-5] + "AAAAA",
		key[:len(key)-5] + "AAAAA",
		"s3cret-of-no-kind-at-all",
	}
	a, dir := certtest.NewAuthority(t), t.TempDir()
	a.Issue(dir, "node", time.Now().Add(time.Hour))
	flags := []string{
		"--log-level=debug", "--access-log", "--auth-secret-file", secretFile(t, testSecret),
		"--auth-key", hash + "=publish:chat:*", "--auth-cookie=session",
	}
	for scheme, more := range map[string][]string{"http": nil, "https": {"--tls-cert", dir + "/tls.crt", "--tls-key", dir + "/tls.key"}} {
		s := tidemark.Serve(t, program.Options{Dir: t.TempDir()}, append(more, flags...)...)
		for _, network := range []string{"http/1.1", "h2"} {
			if scheme == "http" && network == "h2" {
				continue // the same code as with TLS
			}
			client := a.Client(network)
			for _, credential := range credentials {
				for _, r := range carried(t, scheme+"://"+s.Addr, credential) {
					res, err := client.Do(r)
					if err != nil {
						t.Fatal(err)
					}
					body := make([]byte, 4<<10)
					n, _ := res.Body.Read(body) // once, because a stream does not end
					res.Body.Close()
					if bytes.Contains(body[:n], []byte(credential)) {
						t.Errorf("%s %s is answered with %s", r.Method, r.URL.Path, body[:n])
					}
				}
			}
		}
		for _, credential := range credentials {
			dialer := websocket.Dialer{Subprotocols: []string{"tidemark.v1", "tidemark.bearer." + credential}, TLSClientConfig: a.Client("http/1.1").Transport.(*http.Transport).TLSClientConfig.Clone()}
			ws, res, err := dialer.Dial(strings.Replace(scheme, "http", "ws", 1)+"://"+s.Addr+"/v1/ws", nil)
			if err == nil {
				_ = ws.WriteJSON(map[string]string{"op": "auth", "token": credential})
				if _, answer, err := ws.ReadMessage(); err != nil || bytes.Contains(answer, []byte(credential)) {
					t.Errorf("a WebSocket answered %s, %v", answer, err)
				}
				ws.Close()
			}
			if res != nil {
				res.Body.Close()
			}
		}
		s.Signal(syscall.SIGTERM)
		s.Wait()
		log := s.Stderr.String()
		for _, want := range []string{`"route":"/v1/rooms/:room/events"`, `"route":"/v1/ws"`, `"level":"DEBUG"`} {
			if !strings.Contains(log, want) {
				t.Errorf("%s: the log does not have %s, so this tests nothing:\n%.2000s", scheme, want, log)
			}
		}
		for _, credential := range credentials {
			if strings.Contains(log, credential) {
				t.Errorf("%s: the log contains the credential %q", scheme, credential)
			}
		}
	}
}

// carried returns requests to all kinds of routes. Each has the credential in one of the places
// where it is allowed, or in one where it is not.
func carried(t *testing.T, url, credential string) (all []*http.Request) {
	t.Helper()
	add := func(method, path, body string, fields ...string) {
		t.Helper()
		for _, carry := range []func(*http.Request){
			func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+credential) },
			func(r *http.Request) { r.Header.Set("Authorization", credential) },
			func(r *http.Request) { r.URL.RawQuery = "since=now&access_token=" + credential },
			func(r *http.Request) { r.URL.RawQuery = "access_token=" + credential + "&last=0" },
			func(r *http.Request) {
				r.Header.Set("Origin", url)
				r.AddCookie(&http.Cookie{Name: "session", Value: credential})
			},
		} {
			r, err := http.NewRequest(method, url+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			for i := 0; i < len(fields); i += 2 {
				r.Header.Set(fields[i], fields[i+1])
			}
			carry(r)
			all = append(all, r)
		}
	}
	add("POST", "/v1/rooms/chat:1/events", `{"data":1}`)
	add("POST", "/v1/rooms/chat:1/events", `{"data":`)
	add("POST", "/v1/events", `{"events":[{"room":"lobby","data":1}]}`)
	add("GET", "/v1/rooms/chat:1/events", "")
	add("GET", "/v1/rooms/no*room/events", "")
	add("GET", "/v1/rooms/chat:1/events", "", "Accept", "text/event-stream")
	add("GET", "/v1/ws", "")
	add("GET", "/metrics", "")
	add("GET", "/nowhere", "")
	return all
}
