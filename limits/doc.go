// Package limits keeps callers within limits: how much they may publish and read in a
// period, how many connections they may hold, and how much memory they may hold together.
// It does not know HTTP: package api names the callers and answers them.
//
// A [RateLimiter] limits events, reads and new rooms. [LocalLimiter] counts on this node, and
// [SharedLimiter] counts in Redis for all nodes. A [ConnectionLimiter] limits open
// connections: per node and per address in memory, and per user in Redis.
//
// Promised:
//
//   - While Redis answers, all nodes together admit at most as many connections of a user
//     as its limit says, and at most as many events of a caller as a shared rate says.
//   - The connections of a crashed node stop counting within one lease.
//   - If Redis does not answer within 500 ms, the node decides by its own counts. No
//     caller is refused because Redis is down.
//   - Memory is bounded: by the number of open connections, and by 65,536 callers of a
//     rate limiter.
//
// Not promised:
//
//   - During an outage of Redis, each node counts separately. A user may then have as many
//     connections on each node as the limit allows. No connection is closed afterwards.
//   - A rate limit is not exact for a LocalLimiter with more than 65,536 active callers:
//     some of them start again with a full bucket.
package limits
