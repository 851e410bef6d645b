package redislog

import (
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/limits"
	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/redislog/internal/endpoint"
	"github.com/tidemark/tidemark/streams/redislog/internal/rediserr"
	"github.com/tidemark/tidemark/tests/redistest"
)

// aclRule returns the words after ACL SETUSER in docs/redis.md, for the prefixes of the
// tests. The rule is for the user "tidemark" with the password "secret".
func aclRule(t testing.TB) []string {
	t.Helper()
	for line := range strings.Lines(redisDocs(t)) {
		if rule, found := strings.CutPrefix(strings.TrimSpace(line), "ACL SETUSER "); found {
			return strings.Fields(strings.ReplaceAll(rule, "{tidemark:", "{test-"))
		}
	}
	t.Fatal("docs/redis.md has no line with ACL SETUSER")
	return nil
}

func redisDocs(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func setUser(t testing.TB, admin *redis.Client, rule []string) {
	t.Helper()
	words := []any{"acl", "setuser"}
	for _, word := range rule {
		words = append(words, word)
	}
	if err := admin.Do(t.Context(), words...).Err(); err != nil {
		t.Fatal(err)
	}
}

// Each part of the rule is needed. If one is missing, Open fails. The mistake does not
// first show at the first event, or in a feed that only retries.
func TestEachPermissionIsNeeded(t *testing.T) {
	server := redistest.Start(t)
	admin, rule := server.Client(), aclRule(t)
	url := strings.Replace(server.URL(), "://", "://tidemark:secret@", 1)
	parts := 0
	for i, part := range rule {
		if !strings.ContainsAny(part[:1], "+~&") {
			continue
		}
		parts++
		t.Run(part, func(t *testing.T) {
			setUser(t, admin, []string{"tidemark", "reset"})
			setUser(t, admin, slices.Delete(slices.Clone(rule), i, i+1))
			want := strings.TrimPrefix(part, "+")
			switch part[0] {
			case '~':
				want = "key"
			case '&':
				want = "channel"
			}
			_, err := Open(t.Context(), Options{URL: url, Prefix: newPrefix(), Logger: quiet()})
			if !rediserr.Permanent(err) || !strings.Contains(err.Error(), want) {
				t.Errorf("Open = %v, want a permanent error with %q", err, want)
			}
		})
	}
	if parts < 10 {
		t.Errorf("only %d parts of %v were left out", parts, rule)
	}
}

// docs/redis.md lists the permissions that only some deployments need. If one is missing,
// Open fails.
func TestFurtherPermissions(t *testing.T) {
	_, clusterURL := oneNodeCluster(t)
	server, newer := redistest.Start(t), redistest.StartNewer(t, "--appendonly", "yes")
	for part, opt := range map[string]Options{
		"+cluster|slots":  {URL: clusterURL},
		"+select":         {URL: server.URL() + "/1"},
		"+client|setname": {URL: server.URL() + "?client_name=n1"},
		"+wait":           {URL: server.URL(), Durability: streams.Replicated},
		"+waitaof":        {URL: newer.URL(), Durability: streams.Fsynced},
	} {
		t.Run(part, func(t *testing.T) {
			to, err := endpoint.Parse(opt.URL)
			if err != nil {
				t.Fatal(err)
			}
			admin := redis.NewClient(&redis.Options{Addr: to.Addrs[0]})
			defer admin.Close()
			opt.URL = strings.Replace(opt.URL, "://", "://tidemark:secret@", 1)
			opt.Prefix, opt.Logger = newPrefix(), quiet()
			setUser(t, admin, []string{"tidemark", "reset"})
			setUser(t, admin, aclRule(t))
			_, err = Open(t.Context(), opt)
			if !rediserr.Permanent(err) || !strings.Contains(err.Error(), strings.TrimPrefix(part, "+")) {
				t.Errorf("Open = %v, want a permanent error with %q", err, part[1:])
			}
			if docs := redisDocs(t); !strings.Contains(docs, "`"+strings.ReplaceAll(part, "|", `\|`)+"`") {
				t.Errorf("docs/redis.md lacks %s", part)
			}
			setUser(t, admin, []string{"tidemark", part})
			l := open(t, opt)
			put := l.Append(t.Context(), []streams.Draft{draft("r", "1")})
			if id := put[0].ID; id.IsZero() {
				t.Errorf("append: %v", put[0].Err)
			}
			follow(t, l, "r")
		})
	}
}

// docs/redis.md lists the permissions for a connection limit per user. If one is missing,
// Open fails. With all of them the limiter acquires, renews and releases slots.
func TestPermissionsOfConnectionLimits(t *testing.T) {
	server := redistest.Start(t)
	admin, prefix := server.Client(), newPrefix()
	opt := Options{
		URL: strings.Replace(server.URL(), "://", "://tidemark:secret@", 1), Prefix: prefix, Logger: quiet(),
		RequiredCommands: limits.ConnectionCommands(prefix),
	}
	parts := furtherPermissions(t, "`--max-connections-per-user`")
	if len(parts) != len(opt.RequiredCommands) {
		t.Errorf("docs/redis.md has %v, and there are %d commands", parts, len(opt.RequiredCommands))
	}
	setUser(t, admin, aclRule(t))
	setUser(t, admin, append([]string{"tidemark"}, parts...))
	for _, part := range parts {
		command := strings.TrimPrefix(part, "+")
		setUser(t, admin, []string{"tidemark", "-" + command})
		if _, err := Open(t.Context(), opt); !rediserr.Permanent(err) || !strings.Contains(err.Error(), command) {
			t.Errorf("Open without %s = %v, want a permanent error that names it", part, err)
		}
		setUser(t, admin, []string{"tidemark", part})
	}

	l := open(t, opt)
	var limiters [2]*limits.ConnectionLimiter // two nodes
	for i := range limiters {
		limiters[i] = limits.NewConnectionLimiter(limits.ConnectionOptions{PerUser: 1, Redis: l.Client(), Prefix: l.Prefix(), Lease: time.Second})
		t.Cleanup(limiters[i].Close)
	}
	slot, err := limiters[0].Acquire(t.Context(), netip.Addr{}, "ann")
	if err != nil {
		t.Fatal(err)
	}
	refused := func() bool {
		slot, err := limiters[1].Acquire(t.Context(), netip.Addr{}, "ann")
		slot.Release()
		return errors.Is(err, limits.ErrUserFull)
	}
	if !refused() {
		t.Error("the other node accepts a second connection")
	}
	server.Flush()
	eventually(t, "the lease is renewed", refused)
	slot.Release()
	eventually(t, "the slot is released", func() bool { return !refused() })
}

// furtherPermissions returns the permissions in the row of docs/redis.md's table that
// begins with what.
func furtherPermissions(t testing.TB, what string) (words []string) {
	t.Helper()
	for line := range strings.Lines(redisDocs(t)) {
		if row, found := strings.CutPrefix(line, "| "+what+" | "); found {
			for _, word := range strings.Fields(strings.TrimSuffix(strings.TrimSpace(row), "|")) {
				words = append(words, strings.Trim(word, "`"))
			}
		}
	}
	return words
}
