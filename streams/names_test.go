package streams

import (
	"errors"
	"regexp"
	"strings"
	"testing"
)

// The rules of docs/protocol.md as regular expressions, independent of the parsers.
var (
	roomRule = regexp.MustCompile(`^(\$all|[A-Za-z0-9_.:=@|,~+-]{1,200})$`)
	typeRule = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)
	keyRule  = regexp.MustCompile(`^[ -~]{1,255}$`)
)

func FuzzParseRoom(f *testing.F) {
	for _, seed := range []string{
		"", "lobby", "a:b=c@d|e,f~g+h-i_j.k", "@ann", "$all", "$ALL", "$other", ".", "..", "...", "a/b", "a%00", "a\x00b",
		"žluť", "a b", "*", "\xff", "a\n", strings.Repeat("x", MaxRoom), strings.Repeat("x", MaxRoom+1),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		room, err := ParseRoom(s)
		want := roomRule.MatchString(s) && s != "." && s != ".."
		if (err == nil) != want {
			t.Fatalf("ParseRoom(%q): %v, want it accepted: %v", s, err, want)
		}
		if err != nil && !errors.Is(err, ErrRoom) {
			t.Errorf("ParseRoom(%q): %v, want ErrRoom", s, err)
		}
		if err == nil && string(room) != s {
			t.Errorf("ParseRoom(%q) = %q", s, room)
		}
	})
}

func FuzzParseType(f *testing.F) {
	for _, seed := range []string{
		"", "message", "chat.joined", "a_b-c.D9", "tidemark", "tidemark.", "tidemark.gap", "Tidemark.gap", "a b", "a\nb", "ž",
		strings.Repeat("t", MaxType), strings.Repeat("t", MaxType+1),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseType(s)
		want := s == "" || typeRule.MatchString(s) && !strings.HasPrefix(s, "tidemark.")
		if (err == nil) != want {
			t.Fatalf("ParseType(%q): %v, want it accepted: %v", s, err, want)
		}
		switch {
		case err != nil:
			if !errors.Is(err, ErrType) {
				t.Errorf("ParseType(%q): %v, want ErrType", s, err)
			}
		case s == "" && got != DefaultType, s != "" && got != s:
			t.Errorf("ParseType(%q) = %q", s, got)
		}
	})
}

func FuzzParseKey(f *testing.F) {
	for _, seed := range []string{"", "k", " ~", "a\x7f", "a\tb", "ž", strings.Repeat("k", MaxKey), strings.Repeat("k", MaxKey+1)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseKey(s)
		if want := keyRule.MatchString(s); (err == nil) != want {
			t.Fatalf("ParseKey(%q): %v, want it accepted: %v", s, err, want)
		}
		if err != nil && !errors.Is(err, ErrKey) {
			t.Errorf("ParseKey(%q): %v, want ErrKey", s, err)
		}
		if err == nil && got != s {
			t.Errorf("ParseKey(%q) = %q", s, got)
		}
	})
}

func TestInbox(t *testing.T) {
	if room, err := Inbox("ann"); err != nil || room != "@ann" {
		t.Errorf(`Inbox("ann") = %q, %v`, room, err)
	}
	for _, user := range []string{"", "a/b", strings.Repeat("x", MaxRoom)} {
		if _, err := Inbox(user); !errors.Is(err, ErrRoom) {
			t.Errorf("Inbox(%q): %v, want ErrRoom", user, err)
		}
	}
}

// Existing logs depend on these partitions. They must never change.
func TestPartitionIsFixed(t *testing.T) {
	for room, want := range map[Room]Partition{"lobby": 3, "@ann": 6, BroadcastRoom: 6} {
		if got := room.Partition(16); got != want {
			t.Errorf("%q is of partition %d of 16, want %d", room, got, want)
		}
		for _, n := range []int{0, 1} {
			if got := room.Partition(n); got != 0 {
				t.Errorf("%q is of partition %d of %d, want 0", room, got, n)
			}
		}
	}
}

func TestMatches(t *testing.T) {
	for _, tt := range []struct {
		pattern, room string
		want          bool
	}{
		{"lobby", "lobby", true},
		{"lobby", "lobby2", false},
		{"*", "lobby", true},
		{"chat:*", "chat:", true},
		{"chat:*", "chat", false},
		{"*:typing", "chat:7:typing", true},
		{"chat:*:typing", "chat:typing", false},
		{"a*b*c", "abc", true},
		{"a*b*c", "aXbYbZc", true},
		{"a*b*c", "acb", false},
		{"a*a", "a", false},
		{"**", "x", true},
		{"@*", "@ann", true},
		{"", "x", false},
	} {
		if got := Room(tt.room).Matches(tt.pattern); got != tt.want {
			t.Errorf("Room(%q).Matches(%q) = %t", tt.room, tt.pattern, got)
		}
	}
}
