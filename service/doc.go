// Package service is a Tidemark node as a library: it publishes events into a log and
// delivers the events of the log to subscriptions.
//
// An event takes this way through a node. The feed of its partition brings it to the
// pump. The pump proves with the event's Prev that no event before it is missing, and
// reads missing events from the log first. It hands the event to its room, which keeps
// it in the hot tail and offers it to each [Subscription]. The connection takes it with
// [Subscription.Ready] or [Subscription.Next].
//
// Promised:
//
//   - a subscription returns the events of its rooms in the order of ids, each once,
//     from any start;
//   - where events may be missing, it returns a gap notice in their place;
//   - a slow subscription has a bounded queue, delays no other, and catches up from the
//     log;
//   - the zero [Options] are ready for use.
//
// Not promised: order between partitions, and delivery of ephemeral events. These are not
// logged, so a subscription that is not live at that moment misses them without a notice.
package service
