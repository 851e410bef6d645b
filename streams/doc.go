// Package streams is the durable side of Tidemark: events, the ids that are
// their place in the log, and the [Log] that keeps them.
//
// An event's id is a ULID made from its place in the log, one to one:
//
//	48 bits milliseconds | 64 bits sequence | 16 bits partition
//
// so the order of ids is the order of the log, and an id alone finds its entry.
// Ids are minted by the log, never by a publisher and never from a node's clock.
//
// Every event carries Prev, the position before it in its room: no event of the
// room lies between Prev and ID. That one field is how every reader proves that
// nothing is missing.
//
// The logs are in redislog (Redis, any number of nodes) and embedded (Pebble,
// one process); logtest holds both to the same obligations.
package streams
