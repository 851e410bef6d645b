package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/redislog"
	"github.com/tidemark/tidemark/streams/redislog/internal/keys"
	"github.com/tidemark/tidemark/tests/redistest"
)

// goodArgs are settings without any finding, for a primary with a replica.
var goodArgs = []string{
	"--appendonly", "yes", "--appendfsync", "always", "--maxmemory", "1gb", "--maxmemory-policy", "noeviction",
	"--repl-backlog-size", "64mb", "--min-replicas-to-write", "1", "--client-output-buffer-limit", "pubsub 64mb 32mb 60",
}

// Each setting that can lose events or hurt clients leads to its finding. A Redis without
// the setting does not have the finding.
func TestExamineFindsEachSetting(t *testing.T) {
	server := redistest.StartProcess(t, goodArgs...)
	redistest.StartReplica(t, server)
	admin := server.Client()
	eventually(t, "the primary counts its replica", func() bool {
		f := serverInfo{info: parseInfo(admin.Info(t.Context(), "replication").Val())}
		return f.inStep() == 1 && f.info["min_slaves_good_slaves"] == "1"
	})
	for range 20 { // connections, for the case maxclients
		if err := server.Client().Ping(t.Context()).Err(); err != nil {
			t.Fatal(err)
		}
	}
	opt := redislog.Options{URL: server.URL(), Prefix: newPrefix()}
	open(t, opt)

	good := examine(t, opt)
	for _, f := range good.Findings {
		if f.Level != OK && f.About != "version" { // the Redis of the tests may be old enough for a note
			t.Errorf("a good Redis: %s %s: %s", f.Level, f.About, f.Read)
		}
	}
	for _, c := range []struct {
		settings    string // name value, name value
		level       Level
		about, read string
	}{
		{"appendfsync everysec", Warning, "persistence", "appendfsync everysec"},
		{"appendfsync no", Warning, "persistence", "appendfsync no"},
		{"no-appendfsync-on-rewrite yes", Warning, "persistence", "no-appendfsync-on-rewrite yes"},
		{"appendonly no, save 3600 1", Problem, "persistence", "save 3600 1"},
		{"appendonly no", Problem, "persistence", "no snapshots"},
		{"maxmemory-policy allkeys-lru", Problem, "eviction", "allkeys-lru"},
		{"maxmemory-policy volatile-ttl", Problem, "eviction", "volatile-ttl"},
		{"maxmemory-policy volatile-ttl, maxmemory 0", Note, "eviction", "without maxmemory"},
		{"maxmemory 0", Note, "memory", "no maxmemory"},
		{"maxmemory 1mb", Problem, "memory", "of 1.0mb used"},
		{"min-replicas-to-write 0", Warning, "failover", "min-replicas-to-write 0"},
		{"min-replicas-to-write 2", Problem, "failover", "1 in step"},
		{"repl-backlog-size 1mb", Note, "replication backlog", "1.0mb"},
		{"client-output-buffer-limit pubsub 1mb 0 0", Warning, "output buffers", "1.0mb"},
		{"client-output-buffer-limit pubsub 64mb 100kb 1", Warning, "output buffers", "100.0kb"},
		{"client-output-buffer-limit pubsub 0 0 0", Note, "output buffers", "pubsub 0"},
		{"timeout 30", Note, "connections", "timeout 30"},
		{"tcp-keepalive 0", Note, "connections", "tcp-keepalive 0"},
		{"maxclients 28", Warning, "connections", "of maxclients 28"},
	} {
		t.Run(c.settings, func(t *testing.T) {
			defer configure(t, admin, c.settings)()
			if good.has(c.level, c.about, c.read) {
				t.Errorf("the good Redis has it too:%s", good)
			}
			if report := examine(t, opt); !report.has(c.level, c.about, c.read) {
				t.Errorf("want %s %s with %q, have%s", c.level, c.about, c.read, report)
			}
		})
	}
}

// Findings about states that no setting alone causes.
func TestExamineFindsStates(t *testing.T) {
	t.Run("a replica", func(t *testing.T) {
		replica := redistest.StartReplica(t, redistest.StartProcess(t))
		wants(t, redislog.Options{URL: replica.URL()}, Problem, "role", "a replica of")
	})
	t.Run("memory nearly full", func(t *testing.T) {
		server := redistest.StartProcess(t)
		// Large enough that one more connection makes no difference.
		if err := server.Client().Set(t.Context(), "k", strings.Repeat("x", 32<<20), 0).Err(); err != nil {
			t.Fatal(err)
		}
		used := parseInfo(server.Client().Info(t.Context(), "memory").Val())["used_memory"]
		n, err := strconv.Atoi(used)
		if err != nil {
			t.Fatal(err)
		}
		defer configure(t, server.Client(), fmt.Sprint("maxmemory ", n*8/7))()
		wants(t, redislog.Options{URL: server.URL()}, Warning, "memory", " used (")
	})
	t.Run("a snapshot fails", func(t *testing.T) {
		server := redistest.StartProcess(t, "--save", "3600 1", "--dbfilename", "blocked")
		admin := server.Client()
		dir := admin.ConfigGet(t.Context(), "dir").Val()["dir"]
		if err := os.Mkdir(filepath.Join(dir, "blocked"), 0o700); err != nil {
			t.Fatal(err)
		}
		admin.Set(t.Context(), "k", "v", 0)
		admin.BgSave(t.Context())
		eventually(t, "the snapshot fails", func() bool {
			return parseInfo(admin.Info(t.Context(), "persistence").Val())["rdb_last_bgsave_status"] == "err"
		})
		wants(t, redislog.Options{URL: server.URL()}, Problem, "disk", "rdb_last_bgsave_status err")
	})
	t.Run("no replica for the durability", func(t *testing.T) {
		server := redistest.Shared(t)
		wants(t, redislog.Options{URL: server.URL(), Durability: streams.Replicated}, Problem, "durability", "replicated: no")
		wants(t, redislog.Options{URL: server.URL(), Durability: streams.Fsynced}, Problem, "durability", "fsynced: no")
		newer := redistest.StartNewer(t, "--appendonly", "yes")
		wants(t, redislog.Options{URL: newer.URL(), Durability: streams.Fsynced}, OK, "durability", "fsynced: yes")
		wants(t, redislog.Options{URL: newer.URL()}, OK, "version", "Redis ")
		wants(t, redislog.Options{URL: server.URL()}, OK, "durability", "logged: yes; replicated: no")
	})
	t.Run("a clock that is behind", func(t *testing.T) {
		server := redistest.StartWithClock(t)
		wants(t, redislog.Options{URL: server.URL()}, OK, "clock", "")
		server.StepClock(-time.Minute)
		wants(t, redislog.Options{URL: server.URL()}, Warning, "clock", "behind this machine's")
	})
	t.Run("connection refused", func(t *testing.T) {
		wants(t, redislog.Options{URL: "redis://127.0.0.1:1"}, Problem, "connection", "refused")
	})
	t.Run("no answer", func(t *testing.T) {
		server := redistest.StartProcess(t)
		server.Pause()
		wants(t, redislog.Options{URL: server.URL(), Timeout: 100 * time.Millisecond}, Problem, "connection", server.Addr())
	})
	t.Run("another topology", func(t *testing.T) {
		wants(t, redislog.Options{URL: "redis+cluster://" + redistest.Shared(t).Addr()}, Problem, "connection", "it is no cluster")
	})
}

// Examine needs no more permissions than a node. It reports the commands that Redis
// refused, and with a few more permissions it reads everything.
func TestExamineAsAnyUser(t *testing.T) {
	server := redistest.Start(t)
	admin := server.Client()
	opt := redislog.Options{URL: strings.Replace(server.URL(), "://", "://tidemark:secret@", 1), Prefix: newPrefix()}
	setUser(t, admin, aclRule(t))
	node := examine(t, opt)
	for _, want := range []struct{ about, read string }{{"what can be read", "INFO: NOPERM"}, {"what can be read", "CONFIG GET: NOPERM"}, {"size", "NOPERM"}} {
		if !node.has(Note, want.about, want.read) {
			t.Errorf("as a node's user: no note about %s with %q in%s", want.about, want.read, node)
		}
	}
	if node.Count(Problem) != 0 || !node.has(OK, "permissions", "") || !node.has(OK, "durability", "replicated: unknown; fsynced: unknown") {
		t.Errorf("as a node's user:%s", node)
	}

	more := strings.Fields("tidemark +info +config|get +scan +xlen")
	for _, part := range more[1:] {
		if !strings.Contains(redisDocs(t), part) {
			t.Errorf("docs/redis.md lacks %s", part)
		}
	}
	setUser(t, admin, more)
	if doctor := examine(t, opt); doctor.has(Note, "what can be read", "") || doctor.has(Note, "size", "") {
		t.Errorf("with further permissions:%s", doctor)
	}

	setUser(t, admin, []string{"tidemark", "-xadd"})
	wants(t, opt, Problem, "permissions", "may not run xadd")
}

// A managed service refuses CONFIG. Examine still checks the values of INFO.
func TestExamineWithoutConfig(t *testing.T) {
	server := redistest.StartProcess(t, "--rename-command", "CONFIG", "", "--appendonly", "yes", "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
	report := examine(t, redislog.Options{URL: server.URL()})
	for _, want := range []Finding{
		{Level: Note, About: "what can be read", Read: "CONFIG GET"},
		{Level: Note, About: "persistence", Read: "appendfsync cannot be read"},
		{Level: Problem, About: "eviction", Read: "allkeys-lru"},
	} {
		if !report.has(want.Level, want.About, want.Read) {
			t.Errorf("want %+v, have%s", want, report)
		}
	}
}

// Examine reads the log and does not change it.
func TestExamineTheLog(t *testing.T) {
	server := redistest.Start(t)
	admin := server.Client()
	opt := redislog.Options{URL: server.URL(), Prefix: "odd*[p]?", Partitions: 2}
	wants(t, opt, Note, "log", `none under the prefix "odd*[p]?"`)
	if n := admin.DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("examining an empty Redis left %d keys in it", n)
	}

	l := open(t, opt)
	for _, room := range []streams.Room{"a", "a", "b", "c"} {
		put(t, l, draft(room, "1"))
	}
	put(t, open(t, redislog.Options{URL: server.URL(), Prefix: "other"}), draft("a", "1"))
	wants(t, opt, OK, "log", "2 partitions")
	wants(t, opt, OK, "size", "3 rooms with 4 events")

	wrong := opt
	wrong.Partitions = 3
	wants(t, wrong, Problem, "log", "partitions: 2, and 3 were asked for")
	second := keys.New(opt.Prefix, 1, 0)
	clock := second.Clock()
	admin.HSet(t.Context(), clock, "version", "9")
	wants(t, opt, Problem, "log", "layout 9")
	admin.Del(t.Context(), clock)
	wants(t, opt, Warning, "log", "without a clock: 1")
}

// If there are too many rooms to count, the finding says so.
func TestExamineManyRooms(t *testing.T) {
	server := redistest.Start(t)
	opt := redislog.Options{URL: server.URL()}
	l := open(t, opt)
	drafts := make([]streams.Draft, 2*maxCounted)
	for i := range drafts {
		drafts[i] = draft(streams.Room("r"+strconv.Itoa(i)), "1")
	}
	for _, r := range l.Append(t.Context(), drafts) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	wants(t, opt, OK, "size", "at least ")
}

func TestExamineSentinel(t *testing.T) {
	watched := redistest.StartSentinel(t, nil)
	opt := redislog.Options{URL: watched.URL()}
	report := examine(t, opt)
	if !report.has(OK, "sentinel", "it knows 2 others, and a quorum") || !report.has(OK, "replicas", "1 in step") {
		t.Errorf("in good order:%s", report)
	}
	for _, f := range report.Findings {
		if f.About == "replicas" && f.Server != watched.Primary().Addr() {
			t.Errorf("a finding about %q, the primary is %s", f.Server, watched.Primary().Addr())
		}
	}
	all := watched.Sentinels()
	all[0].Kill()
	wants(t, opt, Warning, "sentinel", "refused")
	all[1].Kill()
	eventually(t, "the last Sentinel knows that it is alone", func() bool {
		return examine(t, opt).has(Problem, "sentinel", "NOQUORUM")
	})
}

func TestExamineCluster(t *testing.T) {
	c := redistest.StartCluster(t, &redistest.ClusterOptions{Options: redistest.Options{Clock: true}})
	opt := redislog.Options{URL: c.URL()}
	open(t, opt)
	report := examine(t, opt)
	if !report.has(OK, "partitions", "16, on 3 of 3 primaries") || !report.has(OK, "log", "16 partitions") || report.has(Warning, "clocks", "") {
		t.Errorf("in good order:%s", report)
	}
	for i := range 3 {
		found := false
		for _, f := range report.Findings {
			found = found || f.About == "version" && f.Server == c.Primary(i).Addr()
		}
		if !found {
			t.Errorf("no finding about %s in%s", c.Primary(i).Addr(), report)
		}
	}
	c.Primary(1).StepClock(time.Minute)
	wants(t, opt, Warning, "clocks", c.Primary(1).Addr()+" is 1m0")
	wants(t, opt, Warning, "clock", "ahead of this machine's")
}

func TestExamineClusterInTrouble(t *testing.T) {
	t.Run("no replicas, and a primary down", func(t *testing.T) {
		c := redistest.StartCluster(t, &redistest.ClusterOptions{NoReplicas: true})
		opt := redislog.Options{URL: c.URL()}
		wants(t, opt, Warning, "partitions", "no replica: 0, 1, 2")
		wants(t, opt, Warning, "replicas", "none")
		dead := c.Kill(2)
		wants(t, opt, Problem, "connection", dead.Addr())
	})
	t.Run("a slot without a server", func(t *testing.T) {
		node, url := oneNodeCluster(t)
		if err := node.Client().ClusterDelSlots(t.Context(), 7).Err(); err != nil {
			t.Fatal(err)
		}
		wants(t, redislog.Options{URL: url}, Problem, "cluster", "16383 of 16384 slots")
	})
}
