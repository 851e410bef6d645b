package streams

import (
	"errors"
	"fmt"
)

// Errors about durability.
var (
	// ErrNotDurable: the event is in the log and may be live, but did not become
	// as safe as it should in time. The receipt has its id. With a key, repeating
	// it is safe, and waits again.
	ErrNotDurable = errors.New("the event is logged, but not yet as safe as was asked for")

	// ErrDurability: this log can't give the durability asked for, or there is no
	// such level. Nothing is stored; repeating cannot help.
	ErrDurability = errors.New("the log cannot give that durability")
)

// Durability says how safe an event is when its append is answered. The zero
// value asks for the log's own default.
type Durability uint8

const (
	// Logged: in the log. If that is Redis's memory, a crash of it may lose what
	// its configuration lets it lose.
	Logged Durability = iota + 1
	// Replicated: in the memory of as many of Redis's replicas as the log asks for.
	Replicated
	// Fsynced: on the disk of the log's own machine.
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

// String returns the level's name, "" for the zero value.
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
