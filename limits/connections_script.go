package limits

import "github.com/redis/go-redis/v9"

// luaLeases is the common start of the scripts. ARGV[1] is the length of a lease in
// milliseconds. It sets now to the time of Redis's clock in milliseconds, and ends to the
// score of a lease that begins now.
const luaLeases = `
local life = tonumber(ARGV[1])
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local ends = string.format('%.0f', now + life)
`

// admitScript grants a lease to a connection unless the user has reached the limit.
//
//	KEYS[1]  the user's connections: node and number, scored with the end of its lease in ms
//	ARGV[1]  length of a lease, milliseconds
//	ARGV[2]  limit of connections
//	ARGV[3]  member of the new connection
//	ARGV[4…] members that are released and may still be in the set
//
// It returns 1 if the connection has a lease and 0 if the limit is reached. It is safe to
// repeat. The set expires with its last lease. A refusal adds nothing, so that many
// refused connections do not grow Redis's append-only file.
//
// A lease with an end further away than two lease lengths was granted while the clock was
// ahead, or by a primary with another clock before a failover. It would count for as long
// as the clock was ahead. The script removes it, and a living node adds it again with its
// next renewal. A clock that steps back by less than a lease does no harm.
var admitScript = redis.NewScript(luaLeases + `
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
redis.call('ZREMRANGEBYSCORE', KEYS[1], string.format('(%.0f', now + 2 * life), '+inf')
for i = 4, #ARGV do redis.call('ZREM', KEYS[1], ARGV[i]) end
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) and not redis.call('ZSCORE', KEYS[1], ARGV[3]) then return 0 end
redis.call('ZADD', KEYS[1], ends, ARGV[3])
redis.call('PEXPIRE', KEYS[1], life)
return 1
`)

// renewScript renews leases and adds missing ones, without regard to the limit. It is
// safe to repeat.
//
//	KEYS[1]  the user's connections
//	ARGV[1]  length of a lease, milliseconds
//	ARGV[2…] members
//
// It returns 1.
var renewScript = redis.NewScript(luaLeases + `
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], ends, ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], life)
return 1
`)

// ConnectionCommands returns the commands that the Redis user must be allowed to run for
// a ConnectionLimiter with a limit per user, in addition to the log's. Each has arguments
// like the real ones. docs/redis.md lists the same commands.
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
