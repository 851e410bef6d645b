package fault_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/tests/program"
	"github.com/tidemark/tidemark/tests/redistest"
)

// attackSecret signs the tokens of attackers and strangers.
const attackSecret = "TIDEMARK_AUTH_SECRET=0123456789abcdef0123456789abcdef"

// A victim is the node that an attack is aimed at.
type victim struct {
	t       *testing.T
	name    string
	program program.Program
	auth    bool
	server  *program.Server
	redis   *redis.Client // nil with the embedded log
	memory  *memoryWatch
	before  int  // resident bytes before the attack
	keep    bool // recovery ends the node
}

// newVictim prepares the log and starts the node. The node lasts until end, or until the
// whole test has ended.
func newVictim(whole, t *testing.T, p program.Program, a costAttack) *victim {
	t.Helper()
	v := &victim{t: t, name: a.name, program: p, auth: a.auth}
	where := "--data=" + whole.TempDir()
	if a.log == inRedis {
		r := redistest.StartProcess(whole)
		v.redis = r.Client()
		where = "--redis=" + r.URL()
	}
	if a.prepare != nil {
		v.server = p.Serve(t, program.Options{}, where)
		a.prepare(v)
		v.server.Kill()
	}
	profiles := redistest.FreeAddr(whole)
	flags := append([]string{where, "--node=victim", "--pprof-listen=" + profiles}, exposed...)
	env := []string{"GOMEMLIMIT=" + heapLimit}
	if a.auth {
		env = append(env, attackSecret)
	}
	v.server = p.Serve(whole, program.Options{Env: env}, append(flags, a.flags...)...)
	v.memory = watchMemory(v.server, profiles)
	return v
}

// end ends the node, unless recovery does.
func (v *victim) end() {
	v.memory.stop()
	if !v.keep {
		v.server.Kill()
	}
}

// token returns the credential of a user with scopes, such as "--subscribe=*", or "" if the
// node asks for none.
func (v *victim) token(user string, scopes ...string) string {
	v.t.Helper()
	if !v.auth {
		return ""
	}
	args := append([]string{"token", "--sub=" + user}, scopes...)
	return strings.TrimSpace(v.program.Must(v.t, program.Options{Env: []string{attackSecret}}, args...))
}

// fill publishes events with size bytes of data to a room.
func (v *victim) fill(room string, events, size int) {
	v.t.Helper()
	const batch = 100 // 6.4 MiB of the largest events
	type event struct {
		Room string `json:"room"`
		Data string `json:"data"`
	}
	text := strings.Repeat("x", size-2) // without the quotes
	for events > 0 {
		n := min(events, batch)
		events -= n
		all := make([]event, n)
		for i := range all {
			all[i] = event{room, text}
		}
		body, err := json.Marshal(map[string]any{"events": all})
		if err != nil {
			v.t.Fatal(err)
		}
		resp, err := http.Post(v.server.URL()+"/v1/events", "application/json", bytes.NewReader(body))
		if err != nil {
			v.t.Fatal(err)
		}
		answer, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || bytes.Contains(answer, []byte(`"error"`)) {
			v.t.Fatalf("fill %s: %s, %v, %.200s", room, resp.Status, err, answer)
		}
	}
}

// fillRooms fills rooms that attackers read, a few at a time.
func (v *victim) fillRooms(count, events, size int) {
	v.t.Helper()
	for i := range count {
		v.fill(filledRoom(i), events, size)
	}
}

func filledRoom(i int) string { return fmt.Sprintf("filled-%d", i) }

// redisOutput returns the number of bytes that Redis has sent to all its clients.
func (v *victim) redisOutput() int {
	v.t.Helper()
	text, err := v.redis.Info(context.Background(), "stats").Result()
	if err != nil {
		v.t.Error(err)
		return 0
	}
	_, rest, _ := strings.Cut(text, "total_net_output_bytes:")
	value, _, _ := strings.Cut(rest, "\r\n")
	return int(atou(value))
}

// lastBut returns the id of the event before the last n events of a room.
func (v *victim) lastBut(room string, n int) string {
	v.t.Helper()
	resp, err := http.Get(fmt.Sprintf("%s/v1/rooms/%s/events?order=desc&limit=%d", v.server.URL(), room, n+1))
	if err != nil {
		v.t.Error(err)
		return ""
	}
	defer resp.Body.Close()
	var page struct{ Events []struct{ ID string } }
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil || len(page.Events) != n+1 {
		v.t.Errorf("the newest events of %s: %s, %v, %d events", room, resp.Status, err, len(page.Events))
		return ""
	}
	return page.Events[n].ID
}
