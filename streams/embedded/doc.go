// Package embedded keeps the log of one process in a directory, with no server
// beside it: a [streams.Log] over Pebble, with one partition.
//
// Promised: an event is on the disk (fsynced) before its publisher gets the
// answer and before anyone sees it, live or read. What was acknowledged survives
// the death of the process and of the machine. Memory does not grow with the
// number of rooms ever used.
//
// Not promised: a second process on the same directory; it gets [ErrLocked]. And
// a time limit for reads from a disk that has stopped answering: Append has one,
// a read waits.
//
// One goroutine, the writer, does all the writing: it takes the appends that
// wait, makes one Pebble batch of them, syncs it once for all, hands the events
// to the feeds and answers. In between it removes what has expired. Being alone
// it needs no lock to know a room's last id, and readers need none either.
package embedded
