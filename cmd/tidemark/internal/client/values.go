package client

import (
	"errors"
	"time"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/settings"
	"github.com/tidemark/tidemark/replay"
	"github.com/tidemark/tidemark/streams"
)

// room is the name of a room on the command line.
type room streams.Room

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *room) UnmarshalText(text []byte) error {
	name, err := streams.ParseRoom(string(text))
	*r = room(name)
	return err
}

// since is the start position of tail, in the server's form.
type since string

// UnmarshalText accepts the server's forms, and a duration without the minus sign, because
// "--since -15m" would look like a flag.
func (s *since) UnmarshalText(text []byte) error {
	word := string(text)
	if age, err := settings.ParseAge(word); err == nil {
		word = "-" + age.String()
	}
	if replay.ParseSince(word, time.Now()).String() == replay.Unknown().String() {
		return errors.New(`want "now", "earliest", an id, a time like 2026-01-02T15:04:05Z, or a duration back like 15m`)
	}
	*s = since(word)
	return nil
}
