// Package conn runs the connections that were taken over from net/http: SSE streams and
// WebSocket sessions.
//
// A connection has no goroutine that waits to write. Its Task runs on a worker of the
// Scheduler when an event, a timer or the reader wakes it, appends to the worker's buffer
// and offers the bytes to the Writer, which never blocks. Only a step that must wait, for
// a slow client or for the log, moves the task to a goroutine of its own until the step is
// done.
//
// Promised: a task runs in one goroutine at a time; a wake-up is never lost; a slow client
// delays no other client and costs at most the bytes of one write; after Scheduler.Wait no
// task runs.
package conn
