package access

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tidemark/tidemark/streams"
)

func grant(t testing.TB, user string, s Scopes) *Grant {
	t.Helper()
	g, err := newGrant(user, user, &s, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestAllows(t *testing.T) {
	ann := grant(t, "ann", Scopes{Subscribe: []string{"chat:*", "of:{sub}:*"}, Publish: []string{"chat:*"}})
	for _, tt := range []struct {
		action Action
		room   streams.Room
		want   bool
	}{
		{Subscribe, "chat:1", true}, {Subscribe, "of:ann:1", true}, {Subscribe, "of:bob:1", false}, {Subscribe, "of:{sub}:1", false},
		{Subscribe, "@ann", true}, {Subscribe, "@bob", false}, {Subscribe, streams.BroadcastRoom, true}, {Subscribe, "", false},
		{Publish, "chat:1", true}, {Publish, "@ann", false}, {Publish, streams.BroadcastRoom, false}, {Publish, "lobby", false},
		{Presence, "chat:1", false}, {Presence, streams.BroadcastRoom, false}, {Administer, "", false}, {Administer, "chat:1", false},
	} {
		if got := ann.Allows(tt.action, tt.room); got != tt.want {
			t.Errorf("%v %s: %t", tt.action, tt.room, got)
		}
	}
	var none *Grant
	if none.Allows(Subscribe, streams.BroadcastRoom) {
		t.Error("a nil grant allows something")
	}
	if all := Unrestricted(); !all.Allows(Publish, "x") || !all.Allows(Administer, "") || all.Inbox() != "" {
		t.Error("an unrestricted grant does not allow everything")
	}
}

// A user's name with "*" or "{sub}" in it is not treated as a pattern. Patterns with
// {sub} do not apply to names that cannot be part of a room's name.
func TestUnusualUserNames(t *testing.T) {
	for _, user := range []string{"", "*", "a*", "{sub}", "a b", "a/b", strings.Repeat("u", streams.MaxRoom), "\x00"} {
		g := grant(t, user, Scopes{Subscribe: []string{"@{sub}", "{sub}", "of:{sub}:*", "open"}})
		for _, room := range []streams.Room{"@ann", "@", "of:ann:1", "of::1", "ann", ""} {
			if g.Allows(Subscribe, room) {
				t.Errorf("user %q may follow %q", user, room)
			}
		}
		if !g.Allows(Subscribe, "open") || !g.Allows(Subscribe, streams.BroadcastRoom) || g.Inbox() != "" {
			t.Errorf("user %q", user)
		}
	}
}

// A grant allows nothing from the moment it expires.
func TestGrantExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, err := newGrant("ann", "ann", &Scopes{Publish: []string{"*"}, Admin: true}, time.Now().Add(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute - time.Nanosecond)
		if !g.Allows(Publish, "x") || g.Expired() {
			t.Error("the grant expired early")
		}
		time.Sleep(time.Nanosecond)
		if g.Allows(Publish, "x") || g.Allows(Subscribe, "@ann") || g.Allows(Administer, "") || !g.Expired() {
			t.Error("the grant has not expired")
		}
	})
}

func TestCheckPattern(t *testing.T) {
	for _, p := range []string{"a", "*", "$all", "$*", "@{sub}", "{sub}", "a:*:b:*", "*{sub}*", ".", strings.Repeat("*", maxPattern)} {
		if err := checkPattern(p); err != nil {
			t.Errorf("%q: %v", p, err)
		}
	}
	for _, p := range []string{"", " ", "a b", "a/b", "{user}", "{sub", "a$", "$$", "é", "\x00", "a\n", strings.Repeat("a", maxPattern+1)} {
		if checkPattern(p) == nil {
			t.Errorf("%q was accepted", p)
		}
	}
	if many := (Scopes{Subscribe: make([]string, maxPatterns+1)}); many.Check() == nil {
		t.Error("too many patterns were accepted")
	}
}

// A pattern with {sub} allows only the room in which {sub} is replaced by the user's name.
func TestSubIsTheUsersName(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		user := rapid.StringMatching(`[a-z*{}:@]{0,4}`).Draw(rt, "user")
		room := rapid.StringMatching(`[a-z:@]{1,6}`).Draw(rt, "room")
		g, err := newGrant(user, user, &Scopes{Publish: []string{"p:{sub}"}}, time.Time{})
		if err != nil {
			rt.Fatal(err)
		}
		if g.Allows(Publish, streams.Room(room)) && room != "p:"+user {
			rt.Fatalf("user %q may publish to %q", user, room)
		}
	})
}

// AllowsAny is true exactly for grants that allow the action somewhere.
func TestAllowsAny(t *testing.T) {
	now := time.Now()
	for name, tt := range map[string]struct {
		scopes  Scopes
		user    string
		expires time.Time
		want    [actions]bool
	}{
		"nothing":           {want: [actions]bool{Subscribe: true}}, // the broadcast room
		"publish":           {scopes: Scopes{Publish: []string{"a"}}, want: [actions]bool{Subscribe: true, Publish: true}},
		"administer":        {scopes: Scopes{Admin: true}, want: [actions]bool{Subscribe: true, Administer: true}},
		"own room":          {scopes: Scopes{Publish: []string{"{sub}"}}, user: "ann", want: [actions]bool{Subscribe: true, Publish: true}},
		"own room, no user": {scopes: Scopes{Publish: []string{"{sub}"}}, want: [actions]bool{Subscribe: true}},
		"expired":           {scopes: Scopes{Publish: []string{"*"}, Admin: true}, expires: now},
	} {
		g, err := newGrant("x", tt.user, &tt.scopes, tt.expires)
		if err != nil {
			t.Fatal(err)
		}
		for action, want := range tt.want {
			if got := g.AllowsAny(Action(action)); got != want {
				t.Errorf("%s: %v: %v", name, Action(action), got)
			}
		}
	}
	var none *Grant
	if none.AllowsAny(Subscribe) || !Unrestricted().AllowsAny(Publish) {
		t.Error("no grant allows something, or an unrestricted one does not")
	}
}
