// Package api is the edge: it speaks HTTP, Server-Sent Events and WebSocket for a
// [service.Node], and decides nothing about delivery.
//
// The surface is described in docs/protocol.md and in openapi.yaml, and tests hold
// it to both. One event's way through this package:
//
//   - in, by publish.go (or operations.go on a WebSocket): a body becomes a
//     streams.Draft, or one problem document and nothing stored;
//   - out, by follow.go and sse.go, or socket.go and frames.go: a batch of a
//     Subscription becomes bytes, shared between connections where they are equal.
//
// Who asks is found out once for each request (auth.go), and each way to an event asks
// package access whether they may.
//
// Promised: a request that can't be served gets one clear problem (problem.go) and
// changes nothing; whatever a client does, the memory and the time spent on it are
// bounded; Shutdown sends everybody away and waits.
package api
