// Package service is the node: it publishes into a log, and hands what the log
// brings to the connections that follow.
//
// One event's way through it: the feed of the event's partition brings it to the
// [pump], which proves by its Prev that nothing is missing and repairs what is
// from the log; the pump hands it to its [room], which keeps it in the hot tail
// and offers it to each [Subscription]; the connection takes it from there with
// Subscription.Next.
//
// Promised: a Subscription gives the events of its rooms in the order of ids,
// each once, without a hole that is not told, from any Start; a slow one has a
// bounded queue, delays nobody, and catches up from the log. The zero Options
// are ready for use.
package service
