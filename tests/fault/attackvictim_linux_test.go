package fault_test

import (
	"context"
	"encoding/json"
	"fmt"
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

// Fills of a log with rooms that attackers read.
type fill int

const (
	unfilled fill = iota
	rooms64K      // filledRooms rooms of large events, of which the first has 1,000: 64 MiB
	tails         // tailRooms rooms that each fill a hot tail
)

// attackLogs keep the logs of all attacks of a test. The nodes in front of Redis share one,
// so it is filled once.
type attackLogs struct {
	t       *testing.T
	program program.Program
	redis   *redistest.Server
	filled  map[fill]bool
}

func newAttackLogs(t *testing.T, p program.Program) *attackLogs {
	t.Helper()
	return &attackLogs{t: t, program: p, redis: redistest.StartProcess(t), filled: make(map[fill]bool)}
}

// flag returns the flag of a node for a log that an attack needs.
func (l *attackLogs) flag(a costAttack) string {
	l.t.Helper()
	where, fresh := "--redis="+l.redis.URL(), a.log == inEmbedded
	if fresh {
		where = "--data=" + l.t.TempDir()
	}
	if fresh || !l.filled[a.fill] {
		s := l.program.Serve(l.t, program.Options{}, where)
		fillLog(l.t, s.URL(), a.fill)
		s.Kill()
		l.filled[a.fill] = l.filled[a.fill] || !fresh
	}
	return where
}

// newVictim starts a node. It lasts until end, or until the whole test has ended.
func newVictim(t *testing.T, l *attackLogs, a costAttack) *victim {
	t.Helper()
	v := &victim{t: t, name: a.name, program: l.program, auth: a.auth}
	if a.log == inRedis {
		v.redis = l.redis.Client()
	}
	profiles := redistest.FreeAddr(l.t)
	flags := append([]string{l.flag(a), "--node=victim", "--pprof-listen=" + profiles}, exposed...)
	env := []string{"GOMEMLIMIT=" + heapLimit}
	if a.auth {
		env = append(env, attackSecret)
	}
	v.server = l.program.Serve(l.t, program.Options{Env: env}, append(flags, a.flags...)...)
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
