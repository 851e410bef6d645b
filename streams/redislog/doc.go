// Package redislog keeps events in Redis 7.0 or newer, standalone, behind
// Sentinel or in a Cluster, and serves any number of nodes.
//
// A partition lives in one hash slot. With T for its tag, "{prefix:partition}":
//
//	T:clock           hash: last, floor, lost, unrecorded, tail_life_ms, partitions, version
//	T:s:<room>        stream: the room's events; the entry id is the event's ms-seq
//	T:t:<room>        the room's tail record, the ms-seq of its newest event
//	T:k:<room>/<key>  idempotency record, "ms-seq fingerprint"
//	T:c:<room>        channel, which carries each event as it is logged; T:c<n>: in database n but 0
//
// Positions are written as "ms-seq", as Redis writes the ids of stream entries.
//
// Every write is one script (see appendScript): it mints the ids from Redis's own
// clock, logs, and publishes, or does nothing at all. So there is nothing to
// clean up after a node that dies, and no order that depends on a node's clock.
//
// What Redis must be set to: maxmemory-policy noeviction. Redis may evict a
// room's tail record or its events under any other, which readers are told of as
// a gap at best.
//
// Not promised: that Redis keeps what it acknowledged. What it loses is noticed by
// the next Edges or Append of a node that has seen it, which raises the floor.
//
// While a Cluster moves a partition's slot, Redis has some of its keys here and some
// there, and runs no script on both: appends and Edges may be unavailable until the
// slot has moved. Nothing is half done.
package redislog
