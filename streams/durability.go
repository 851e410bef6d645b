package streams

import (
	"errors"
	"fmt"
)

// Errors about durability.
var (
	// ErrNotDurable: the event is in the log and may be live, but did not reach the
	// requested durability in time. The receipt has its id. With a key, the caller may
	// repeat the append, which waits again.
	ErrNotDurable = errors.New("the event is logged, but not yet as safe as was asked for")

	// ErrDurability: the requested durability does not exist, or this log does not offer
	// it. Nothing is stored, and repeating does not help.
	ErrDurability = errors.New("the log cannot give that durability")
)

// Durability says how safe an event is when Append returns. The zero value requests the
// log's default.
type Durability uint8

const (
	// Logged: in the log. If Redis keeps the log, its persistence settings decide whether
	// the event survives a crash.
	Logged Durability = iota + 1
	// Replicated: in the memory of as many replicas of Redis as the log requires.
	Replicated
	// Fsynced: on the disk of the machine that keeps the log.
	Fsynced
)

var durabilities = [...]string{Logged: "logged", Replicated: "replicated", Fsynced: "fsynced"}

// ParseDurability returns the level with that name. The error is ErrDurability.
func ParseDurability(name string) (Durability, error) {
	for d := Logged; int(d) < len(durabilities); d++ {
		if durabilities[d] == name {
			return d, nil
		}
	}
	return 0, fmt.Errorf("%w: %.40q is not logged, replicated or fsynced", ErrDurability, name)
}

// String returns the level's name, or "" for the zero value.
func (d Durability) String() string {
	if int(d) < len(durabilities) {
		return durabilities[d]
	}
	return fmt.Sprintf("durability %d", uint8(d))
}

// MarshalText implements encoding.TextMarshaler.
func (d Durability) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. The error is ErrDurability.
func (d *Durability) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDurability(string(text))
	return err
}
