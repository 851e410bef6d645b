// Package scripts holds the Lua scripts that read and write a partition of the log. Each
// runs in Redis as one atomic step.
//
// Nodes of different versions may run different texts side by side, because Redis finds a
// script by the hash of its text. The keys, the stored values and the published messages
// are shared by all versions and must not change.
package scripts

import "github.com/redis/go-redis/v9"

// A Script is Lua that runs in Redis.
type Script struct {
	*redis.Script
	Source string // the text, for EVAL where Redis does not know the hash
}

// New returns the script with that text.
func New(source string) Script { return Script{redis.NewScript(source), source} }

// First words of the errors that scripts return for the node to act on. A script that
// returns one has changed nothing.
const (
	NoClock  = "NOCLOCK"  // the partition has no clock: run Create and repeat
	Mismatch = "MISMATCH" // the clock was created with other settings; the text says which
	TooOld   = "VERSION"  // Redis is older than 7.0
)

// Layout is the version of the layout in Redis, as Create writes it into the clock.
const Layout = "1"
