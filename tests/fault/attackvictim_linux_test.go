package fault_test

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"testing"

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
	tls     bool
	server  *program.Server
	redis   string // URL; "" with the embedded log
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
	v := &victim{t: t, name: a.name, program: l.program, auth: a.auth, tls: a.tls}
	if a.log == inRedis {
		v.redis = l.redis.URL()
	}
	profiles := redistest.FreeAddr(l.t)
	flags := append([]string{l.flag(a), "--node=victim", "--pprof-listen=" + profiles}, exposed...)
	env := []string{"GOMEMLIMIT=" + heapLimit}
	if a.auth {
		env = append(env, attackSecret)
	}
	if a.tls {
		flags = append(flags, tlsFlags(l.t)...)
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

// A dialer connects to the node as a stranger.
type dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// dialer returns a dialer at an address. Its connections speak TLS if the node does, so the
// caller must not add TLS.
func (v *victim) dialer(from net.IP) dialer {
	d := &net.Dialer{Timeout: strangerLimit, LocalAddr: &net.TCPAddr{IP: from}}
	if !v.tls {
		return d.DialContext
	}
	// No authority signed the certificate of the test.
	return (&tls.Dialer{NetDialer: d, Config: &tls.Config{InsecureSkipVerify: true}}).DialContext
}

// plan returns the task of attackers.
func (v *victim) plan(a costAttack) attackPlan {
	v.t.Helper()
	return attackPlan{
		Attack: a.name, Lasts: a.lasts(), Addr: v.server.Addr, Redis: v.redis,
		Subscribe: v.token("mallory", "--subscribe=*"), Publish: v.token("mallory", "--publish=*"),
	}
}
