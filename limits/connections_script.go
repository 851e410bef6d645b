package limits

import "github.com/redis/go-redis/v9"

// luaLeases is what the scripts share. ARGV[1] is the life of a lease in milliseconds. It
// leaves in now the time by Redis's clock, and in ends the score of a lease that begins
// now.
const luaLeases = `
local life = tonumber(ARGV[1])
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local ends = string.format('%.0f', now + life)
`

// admitScript gives a connection a place, if there is one.
//
//	KEYS[1]  the user's connections: node and number, scored with the end of the lease
//	ARGV[1]  life of a lease, milliseconds
//	ARGV[2]  how many connections the user may have
//	ARGV[3]  the connection
//	ARGV     connections of the user that have ended, and may still have a place
//
// It returns 1 if the connection has a place, else 0. Repeated for one that has a place
// it returns 1. The set ends with its last lease. Nobody who is refused is written down:
// a storm of them costs Redis's log nothing.
//
// A lease that ends later than any could was given when the clock was ahead, or by a
// Redis whose clock was (a replica that was promoted has its own). It would hold its
// place for as long as the clock was, so it is taken out; a node that is alive puts it in
// again. A clock that steps back by less than a lease is no matter.
var admitScript = redis.NewScript(luaLeases + `
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
redis.call('ZREMRANGEBYSCORE', KEYS[1], string.format('(%.0f', now + 2 * life), '+inf')
for i = 4, #ARGV do redis.call('ZREM', KEYS[1], ARGV[i]) end
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) and not redis.call('ZSCORE', KEYS[1], ARGV[3]) then return 0 end
redis.call('ZADD', KEYS[1], ends, ARGV[3])
redis.call('PEXPIRE', KEYS[1], life)
return 1
`)

// renewScript has connections keep their places, or puts them back, however many there
// are. It is safe to repeat.
//
//	KEYS[1]  the user's connections
//	ARGV[1]  life of a lease, milliseconds
//	ARGV     the connections
//
// It returns 1.
var renewScript = redis.NewScript(luaLeases + `
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], ends, ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], life)
return 1
`)

// ConnectionCommands are those that the user of Redis has to be allowed to run where users
// are counted, beside those of the log; each with words that make it one of Seats's.
// docs/redis.md has the same.
func ConnectionCommands(prefix string) [][]string {
	key := (&leases{prefix: prefix}).key("u")
	return [][]string{
		{"zadd", key, "0", "m"},
		{"zcard", key},
		{"zrem", key, "m"},
		{"zremrangebyscore", key, "-inf", "0"},
		{"zscore", key, "m"},
	}
}
