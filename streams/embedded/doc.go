// Package embedded is a [streams.Log] in a directory, for a single process without
// Redis. It stores events in Pebble, in one partition.
//
// Promised:
//
//   - An event is on the disk (fsync) before Append returns its receipt and before any
//     reader or feed sees it. Acknowledged events survive a crash of the process and of
//     the machine.
//   - Memory does not grow with the number of rooms ever used. A log holds at most 64 MiB
//     of cached blocks, 96 MiB of events that Pebble has not written to tables, 64 MiB of
//     waiting appends and 13 MiB of room records, and for each feed 16 MiB of unread data.
//     Pages that a caller reads come on top.
//   - An Append returns within 10 s, also if the disk does not answer. The log may still
//     store its events; repeating a draft with an idempotency key is safe.
//
// Not promised:
//
//   - Two processes cannot share a directory: the second gets [ErrLocked].
//   - A read waits for the disk without a time limit of its own.
//   - After a failed write the log accepts no more events until it is opened again. It
//     still serves reads.
//
// One goroutine, the writer, makes all changes. It collects the waiting appends into one
// Pebble batch, syncs the batch once, publishes its events to the feeds, and answers.
// Between batches it removes expired data. Because only the writer assigns ids, neither
// it nor the readers need a lock for the last id of a room.
package embedded
