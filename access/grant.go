package access

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tidemark/tidemark/streams"
)

// An Action is something that may be done.
type Action int

// The actions. All but Administer are done in a room.
const (
	Subscribe  Action = iota // follow, resume, read the history
	Publish                  // also in a batch, to a user, to everyone
	Presence                 // see who is there
	Administer               // look at the node itself: its metrics
	actions
)

// String returns the word by which claims and scopes name the action.
func (a Action) String() string {
	return [...]string{"subscribe", "publish", "presence", "admin"}[a]
}

const (
	// maxPatterns bounds the patterns of one grant: each is tried for each room.
	maxPatterns = 200
	// maxPattern bounds one, in characters: the longest room name, and as many stars.
	maxPattern = 2 * streams.MaxRoom
	// subWord stands in a pattern for the user's name.
	subWord = "{sub}"
)

// errPattern is what a pattern is that no room could match.
var errPattern = errors.New("not a pattern of rooms")

// Scopes are what a credential allows, as its issuer wrote it down. The patterns are
// room names in which "*" stands for any characters and "{sub}" for the user's name.
type Scopes struct {
	Subscribe []string `json:"subscribe,omitempty"`
	Publish   []string `json:"publish,omitempty"`
	Presence  []string `json:"presence,omitempty"`
	Admin     bool     `json:"admin,omitempty"`
}

// Check reports the first pattern that can't be meant.
func (s *Scopes) Check() error {
	_, err := s.fill("")
	return err
}

// fill returns the patterns for each action, with user's name in them. Where the name
// is empty or no part of a room's, a pattern that wants it is left out.
func (s *Scopes) fill(user string) (filled [actions][]string, err error) {
	_, err = streams.Inbox(user)
	named, count := err == nil, 0
	for action, patterns := range [...][]string{Subscribe: s.Subscribe, Publish: s.Publish, Presence: s.Presence} {
		if count += len(patterns); count > maxPatterns {
			return filled, fmt.Errorf("%w: there are more than %d", errPattern, maxPatterns)
		}
		for _, p := range patterns {
			if err := checkPattern(p); err != nil {
				return filled, err
			}
			if named || !strings.Contains(p, subWord) {
				filled[action] = append(filled[action], strings.ReplaceAll(p, subWord, user))
			}
		}
	}
	return filled, nil
}

// checkPattern refuses what no room's name can match.
func checkPattern(p string) error {
	if p == "" || len(p) > maxPattern {
		return fmt.Errorf("%w: %d characters, want 1 to %d", errPattern, len(p), maxPattern)
	}
	name := strings.NewReplacer(subWord, "", "*", "").Replace(p)
	for _, c := range strings.TrimPrefix(name, "$") { // $all and those after it
		if _, err := streams.ParseRoom("x" + string(c)); err != nil {
			return fmt.Errorf("%w: %.40q has %q", errPattern, p, c)
		}
	}
	return nil
}

// A Grant is what one credential allows. It does not change, and may be used by any
// number of goroutines. A nil Grant allows nothing.
type Grant struct {
	who      string
	user     string       // "" for a credential that is no user's
	inbox    streams.Room // the user's; "" if there is none
	patterns [actions][]string
	admin    bool
	open     bool      // everything is allowed
	expires  time.Time // zero for never
}

// Unrestricted returns the grant of everybody where nobody is asked who they are.
func Unrestricted() *Grant { return &Grant{who: "anyone", open: true} }

// newGrant returns what scopes allow user, or a key's holder where user is empty.
func newGrant(who, user string, s *Scopes, expires time.Time) (*Grant, error) {
	patterns, err := s.fill(user)
	if err != nil {
		return nil, err
	}
	inbox, _ := streams.Inbox(user) // none for a name that can't be in a room's
	return &Grant{who: who, user: user, inbox: inbox, patterns: patterns, admin: s.Admin, expires: expires}, nil
}

// Allows reports whether action is allowed in room, now. For Administer the room does
// not matter. It is the only place where that is decided.
func (g *Grant) Allows(action Action, room streams.Room) bool {
	switch {
	case g == nil || g.Expired():
		return false
	case g.open:
		return true
	case action == Administer:
		return g.admin
	case action == Subscribe && (room == streams.BroadcastRoom || room == g.inbox && room != ""):
		return true
	}
	for _, pattern := range g.patterns[action] {
		if room.Matches(pattern) {
			return true
		}
	}
	return false
}

// Expired reports whether the grant's time is over.
func (g *Grant) Expired() bool { return !g.expires.IsZero() && !time.Now().Before(g.expires) }

// Expires returns when the grant ends; the zero time for never.
func (g *Grant) Expires() time.Time { return g.expires }

// Holder names the holder for logs: the user, or the beginning of a key's hash.
func (g *Grant) Holder() string { return g.who }

// User returns the user's name; empty for a credential that is no user's.
func (g *Grant) User() string { return g.user }

// Inbox returns the user's inbox; empty if there is none.
func (g *Grant) Inbox() streams.Room { return g.inbox }
