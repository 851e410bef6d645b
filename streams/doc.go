// Package streams defines events, their ids, and the [Log] that keeps them. The package
// redislog keeps a log in Redis, for any number of nodes. The package embedded keeps one on
// disk, for one process. Package logtest holds the test suite that both pass.
//
// An event's id is a ULID that encodes its position in the log:
//
//	48 bits milliseconds | 64 bits sequence | 16 bits partition
//
// The log creates ids. Publishers and the clocks of nodes do not.
//
// Promised:
//
//   - within a partition, the order of ids is the order of the log;
//   - an id finds its entry in the log without an index;
//   - no event of a room lies between an event's Prev and its ID. With that field every
//     reader proves that no event is missing.
//
// Not promised: an order between events of two partitions, and events beyond a room's
// [Retention].
package streams
