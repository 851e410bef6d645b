//go:build linux

package edge

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/tests/internal/follow"
	"github.com/tidemark/tidemark/tests/internal/wait"
	"github.com/tidemark/tidemark/tests/internal/ws"
	"github.com/tidemark/tidemark/tests/program"
	"github.com/tidemark/tidemark/tests/redistest"
)

// Two hundred connections of one user come at once, over both transports, to two nodes on
// one Redis with a limit of five. Five stay and the others get the reason. When the five
// have left, five others can connect, and Redis keeps no lease.
func TestConnectionsOfAUser(t *testing.T) {
	const most, visitors = 5, 200
	secret := []byte(strings.Repeat("s", access.MinSecret))
	file := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(file, secret, 0o600))
	token, err := access.Mint(secret, access.TokenSpec{Subject: "ann", Life: time.Hour, Scopes: access.Scopes{Subscribe: []string{"lobby"}}})
	must(t, err)
	redis := redistest.StartProcess(t)
	var nodes [2]*caller
	for i := range nodes {
		node := tidemark.Serve(t, program.Options{}, "--redis", redis.URL(), "--auth-secret-file", file, fmt.Sprint("--max-connections-per-user=", most))
		nodes[i] = &caller{to: node.Addr}
	}
	for range 2 {
		var coming sync.WaitGroup
		stay := make([]*conn, visitors)
		begin := make(chan struct{})
		for i := range visitors {
			coming.Go(func() {
				l, err := nodes[i%2].dial()
				if err != nil {
					t.Error(err)
					return
				}
				<-begin
				stays, err := tryConnect(l, follow.Transport(i/2%2), token)
				if err != nil {
					t.Errorf("over %v: %v", follow.Transport(i/2%2), err)
				}
				if stay[i] = l; !stays {
					stay[i] = nil
					l.reset()
				}
			})
		}
		close(begin)
		coming.Wait()
		admitted := 0
		for _, l := range stay {
			if l != nil {
				admitted++
				l.reset()
			}
		}
		if admitted != most {
			t.Errorf("%d of %d have a place, want %d", admitted, visitors, most)
		}
		client, key := redis.Client(), "{tidemark:seats:ann}"
		if !wait.For(func() bool { return client.Exists(context.Background(), key).Val() == 0 }) {
			t.Errorf("Redis still has %v", client.ZRange(context.Background(), key, 0, -1).Val())
		}
	}
}

// errUnclear reports an answer that neither accepts nor refuses the connection.
var errUnclear = errors.New("neither let in nor turned away")

// tryConnect connects, and reports whether the connection stays.
func tryConnect(l *conn, over follow.Transport, token string) (stays bool, err error) {
	bearer := "Authorization: Bearer " + token
	if over == follow.SSE {
		_, first, err := l.openStream("/v1/rooms/lobby/events", bearer)
		switch {
		case err != nil:
			return false, err
		case first.Event == "tidemark.open":
			return true, nil
		case strings.Contains(first.Data, `"code":"too-many-connections"`):
			return false, nil
		}
		return false, fmt.Errorf("%w: %q", errUnclear, first.Text)
	}
	if err := l.openSocket(bearer); err != nil {
		return false, err
	}
	_ = l.sendText(`{"op":"ping"}`) // the server may have closed it already
	kind, payload, err := l.readFrame()
	switch {
	case err != nil:
		return false, err
	case kind == ws.Text && string(payload) == `{"op":"pong"}`:
		return true, nil
	case kind == ws.Close && ws.CloseCode(payload) == websocket.CloseTryAgainLater && string(payload[2:]) == "too-many-connections":
		return false, nil
	}
	return false, fmt.Errorf("%w: frame %d %q", errUnclear, kind, payload)
}
