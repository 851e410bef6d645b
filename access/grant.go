package access

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tidemark/tidemark/streams"
)

// An Action is something that a grant can allow.
type Action int

// The actions. All except Administer happen in a room.
const (
	Subscribe  Action = iota // follow a room, resume, read its history
	Publish                  // single events and batches, also to a user and to everyone
	Presence                 // see the members of a room
	Administer               // read the node's metrics
	actions
)

// String returns the name that claims and scopes use for the action.
func (a Action) String() string {
	return [...]string{"subscribe", "publish", "presence", "admin"}[a]
}

const (
	// maxPatterns bounds the patterns of one grant, because each is tried for each room.
	maxPatterns = 200
	// maxPattern bounds one pattern, in bytes: the longest room name, and as many stars.
	maxPattern = 2 * streams.MaxRoom
	// subWord is the placeholder for the user's name in a pattern.
	subWord = "{sub}"
)

// errPattern reports a pattern that no room could match.
var errPattern = errors.New("not a pattern of rooms")

// Scopes lists what a credential allows, in the form of a token's claim. Patterns are
// room names in which "*" matches any characters, also none, and "{sub}" is replaced by
// the user's name. Admin allows Administer.
type Scopes struct {
	Subscribe []string `json:"subscribe,omitempty"`
	Publish   []string `json:"publish,omitempty"`
	Presence  []string `json:"presence,omitempty"`
	Admin     bool     `json:"admin,omitempty"`
}

// Check returns an error about the first pattern that no room could match, or about
// more than 200 patterns.
func (s *Scopes) Check() error {
	_, err := s.fill("")
	return err
}

// fill returns the patterns for each action, with {sub} replaced by user. Patterns with
// {sub} are left out if user is empty or cannot be part of a room's name.
func (s *Scopes) fill(user string) (filled [actions][]string, err error) {
	_, err = streams.Inbox(user)
	named, count := err == nil, 0
	for action, patterns := range [...][]string{Subscribe: s.Subscribe, Publish: s.Publish, Presence: s.Presence} {
		if count += len(patterns); count > maxPatterns {
			return filled, fmt.Errorf("%w: more than %d patterns in one credential", errPattern, maxPatterns)
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

// checkPattern returns an error if no room's name can match p.
func checkPattern(p string) error {
	if p == "" || len(p) > maxPattern {
		return fmt.Errorf("%w: a pattern has %d bytes, want 1 to %d", errPattern, len(p), maxPattern)
	}
	name := strings.NewReplacer(subWord, "", "*", "").Replace(p)
	for _, c := range strings.TrimPrefix(name, "$") { // room names of the server start with $
		if _, err := streams.ParseRoom("x" + string(c)); err != nil {
			return fmt.Errorf("%w: %.40q contains %q, which no room name may contain", errPattern, p, c)
		}
	}
	return nil
}

// A Grant holds the permissions of one credential. It is immutable and safe for concurrent use.
// A nil Grant allows nothing.
type Grant struct {
	holder       string
	user         string       // "" if the credential does not name a user
	inbox        streams.Room // the user's inbox; "" without a user
	patterns     [actions][]string
	admin        bool
	unrestricted bool      // allows everything
	expires      time.Time // zero means never
}

// Unrestricted returns a grant that allows everything. A server without authentication
// gives it to all clients.
func Unrestricted() *Grant { return &Grant{holder: "anyone", unrestricted: true} }

// newGrant returns the grant of a credential with these scopes. user is empty for an API
// key.
func newGrant(holder, user string, s *Scopes, expires time.Time) (*Grant, error) {
	patterns, err := s.fill(user)
	if err != nil {
		return nil, err
	}
	inbox, _ := streams.Inbox(user) // "" for a name that cannot be part of a room's
	return &Grant{holder: holder, user: user, inbox: inbox, patterns: patterns, admin: s.Admin, expires: expires}, nil
}

// Allows reports whether the grant allows action in room at this moment. Administer
// ignores the room. A user may always subscribe to their own inbox, and every grant to
// the broadcast room. No other code decides what a credential may do.
func (g *Grant) Allows(action Action, room streams.Room) bool {
	switch {
	case g == nil || g.Expired():
		return false
	case g.unrestricted:
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

// AllowsAny reports whether the grant may allow action in some room at this moment. If it
// reports false, Allows does for every room.
func (g *Grant) AllowsAny(action Action) bool {
	switch {
	case g == nil || g.Expired():
		return false
	case g.unrestricted || action == Subscribe: // every grant allows the broadcast room
		return true
	case action == Administer:
		return g.admin
	}
	return len(g.patterns[action]) > 0
}

// Expired reports whether the grant has expired.
func (g *Grant) Expired() bool { return !g.expires.IsZero() && !time.Now().Before(g.expires) }

// Expires returns the time at which the grant expires. The zero time means never.
func (g *Grant) Expires() time.Time { return g.expires }

// Holder returns a name for logs: the user, or the start of an API key's hash.
func (g *Grant) Holder() string { return g.holder }

// User returns the user's name. It is empty for an API key and without authentication.
func (g *Grant) User() string { return g.user }

// Inbox returns the user's inbox. It is empty for a grant without a user, and for a name
// that cannot be part of a room's.
func (g *Grant) Inbox() streams.Room { return g.inbox }
