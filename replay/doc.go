// Package replay gives a returning subscriber what it missed.
//
// It knows what a cursor is ([Cursor]), where a follow starts ([Start]), and how
// to read the log from there up to a barrier ([Reader]): the events of all rooms
// in one order, with a [Gap] in its place wherever the log can't prove that
// nothing is missing. The hand-over to live is the caller's, and needs no more
// than the barrier: the log up to it, live after it.
//
// Promised, for the rooms of one partition:
//
//   - events come in the order of ids, each once;
//   - between two events of a room that come one after the other, without a gap
//     notice between them, the log held no third one;
//   - a client that is cut after any item and returns with that item's Position
//     gets exactly what it would have got.
//
// Not promised: order between partitions.
package replay
