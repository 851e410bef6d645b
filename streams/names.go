package streams

import (
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
)

const (
	// MaxRoom is the longest room name, in characters.
	MaxRoom = 200
	// MaxType is the longest event type, in characters.
	MaxType = 64
	// MaxKey is the longest idempotency key, in bytes.
	MaxKey = 255
	// DefaultType is the type of an event published without one. A browser delivers it to
	// onmessage.
	DefaultType = "message"
	// BroadcastRoom is the room that every connection may follow.
	BroadcastRoom Room = "$all"
	// reservedTypes is the prefix of the event types that only Tidemark sends.
	reservedTypes = "tidemark."
)

// Errors of the parsers of names. The text that follows describes the mistake.
var (
	ErrRoom = errors.New("not a room name")
	ErrType = errors.New("not an event type")
	ErrKey  = errors.New("not an idempotency key")
)

// Room is the name of a room: BroadcastRoom, or 1 to 200 of the characters A-Z a-z 0-9 and
// _ . : = @ | , ~ + -. Make one from untrusted text with ParseRoom or Inbox.
type Room string

// ParseRoom reads a room name. The error is ErrRoom.
func ParseRoom(s string) (Room, error) {
	if Room(s) == BroadcastRoom {
		return BroadcastRoom, nil
	}
	if s == "" || len(s) > MaxRoom {
		return "", fmt.Errorf("%w: %d characters, want 1 to %d", ErrRoom, len(s), MaxRoom)
	}
	for i := range len(s) {
		if !roomChar(s[i]) {
			return "", fmt.Errorf("%w: character %q, want letters, digits and _ . : = @ | , ~ + -", ErrRoom, s[i])
		}
	}
	if s == "." || s == ".." {
		return "", fmt.Errorf("%w: %q is reserved, because proxies resolve it as a path", ErrRoom, s)
	}
	return Room(s), nil
}

// Inbox returns the room of a user's own events: "@" and the user's name. The error is
// ErrRoom.
func Inbox(user string) (Room, error) {
	if user == "" {
		return "", fmt.Errorf("%w: the user's name is empty", ErrRoom)
	}
	return ParseRoom("@" + user)
}

// Partition returns the room's partition in a log of n partitions. The hash must never
// change, because existing logs depend on it.
func (r Room) Partition(n int) Partition {
	if n <= 1 {
		return 0
	}
	h := fnv.New64a()
	h.Write([]byte(r)) // the error is always nil
	return Partition(h.Sum64() % uint64(n))
}

// Matches reports whether the room's name matches pattern, in which "*" matches any text,
// also the empty one.
func (r Room) Matches(pattern string) bool {
	head, rest, wild := strings.Cut(pattern, "*")
	if !wild {
		return pattern == string(r)
	}
	s, ok := strings.CutPrefix(string(r), head)
	if !ok {
		return false
	}
	for {
		part, next, more := strings.Cut(rest, "*")
		if !more {
			return strings.HasSuffix(s, part)
		}
		i := strings.Index(s, part) // the leftmost match leaves the most text for the other parts
		if i < 0 {
			return false
		}
		s, rest = s[i+len(part):], next
	}
}

func roomChar(c byte) bool {
	switch c {
	case '_', '.', ':', '=', '@', '|', ',', '~', '+', '-':
		return true
	}
	return alphanumeric(c)
}

func alphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// ParseType reads an event type: 1 to 64 of the characters A-Z a-z 0-9 _ . -, not starting
// with "tidemark.". An empty text means DefaultType. The error is ErrType.
func ParseType(s string) (string, error) {
	if s == "" {
		return DefaultType, nil
	}
	if len(s) > MaxType {
		return "", fmt.Errorf("%w: %d characters, want at most %d", ErrType, len(s), MaxType)
	}
	for i := range len(s) {
		if c := s[i]; !alphanumeric(c) && c != '_' && c != '.' && c != '-' {
			return "", fmt.Errorf("%w: character %q, want letters, digits and _ . -", ErrType, c)
		}
	}
	if len(s) >= len(reservedTypes) && s[:len(reservedTypes)] == reservedTypes {
		return "", fmt.Errorf("%w: %q is reserved", ErrType, reservedTypes)
	}
	return s, nil
}

// ParseKey reads an idempotency key: 1 to 255 printable ASCII characters. The
// error is ErrKey.
func ParseKey(s string) (string, error) {
	if s == "" || len(s) > MaxKey {
		return "", fmt.Errorf("%w: %d characters, want 1 to %d", ErrKey, len(s), MaxKey)
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return "", fmt.Errorf("%w: character %q, want printable ASCII", ErrKey, s[i])
		}
	}
	return s, nil
}
