// Package redislog keeps events in Redis 7.0 or newer: standalone, behind Sentinel or in a
// Cluster. It serves any number of nodes.
//
// A partition lives in one hash slot. Its keys and channels start with the tag
// T = "{prefix:partition}":
//
//	T:clock           hash: last, floor, lost, unrecorded, tail_life_ms, partitions, version
//	T:s:<room>        stream: the room's events; the entry id is the event's ms-seq
//	T:t:<room>        the room's tail record: the ms-seq of its newest event
//	T:k:<room>/<key>  idempotency record: "ms-seq fingerprint"
//	T:c:<room>        channel that carries each event as it is logged
//	T:c<n>:<room>     the same in database n, if n is not 0
//	T:p:<name>        channel of a feed's probes
//
// Positions are written as "ms-seq", the form of Redis's entry ids.
//
// One script does every write. It mints the ids from Redis's own clock, logs the events
// and publishes them, or it changes nothing. So a node that dies leaves nothing to clean
// up, and the order does not depend on any node's clock.
//
// Redis must run with maxmemory-policy noeviction. With another policy, Redis may evict a
// room's tail record or its events. Readers then get a gap notice at best.
//
// Redis may lose acknowledged events, depending on its configuration. The next Watermarks
// or Append of a node that has seen a lost event notices the loss and raises the floor.
//
// While a Cluster moves a partition's slot, some keys are on one node and some on another,
// and Redis runs no script on both. Append and Watermarks may then return
// streams.ErrUnavailable until the slot has moved. Writes stay atomic.
package redislog
