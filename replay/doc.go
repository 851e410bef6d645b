// Package replay reads the events that a returning client missed.
//
// A [Cursor] is the position that a client hands back. A [Start] says where a follow
// begins, and [Locate] finds its position in each room. A [Reader] reads the log from there
// up to a barrier. It returns the events of all rooms in one order, with a [Gap] wherever the
// log cannot prove that nothing is missing. After the barrier, the caller continues with the
// live events.
//
// Promised, for the rooms of one partition:
//
//   - events come in the order of ids, each once;
//   - between two consecutive events of a room, with no gap between them, the log had no
//     other event;
//   - a client that disconnects after any item, and returns with that item's Position,
//     receives the remaining items. A gap notice may repeat; an event does not.
//
// Not promised: order between partitions, and events that the log no longer keeps. A gap
// notice stands in for these.
package replay
