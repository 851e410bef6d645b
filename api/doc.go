// Package api is the HTTP edge of a [service.Node]: REST, Server-Sent Events, WebSocket,
// health checks and the console. It decides nothing about delivery.
//
// docs/protocol.md and openapi.yaml describe the interface, and tests compare the package
// with both. The way of an event through the package:
//
//   - in: publish.go, or internal/ws/handler.go on a WebSocket, turns a body into a
//     streams.Draft, or refuses it with one problem document and stores nothing;
//   - out: a task of internal/conn takes a batch from the connection's Subscription, and
//     internal/sse or internal/ws encodes it; the encoding of an event is shared between
//     connections.
//
// auth.go verifies the credential of a request once. Each operation that reads or publishes
// events then checks the grant.
//
// Promised: a request that cannot be served gets one problem document and changes nothing;
// the memory and time that a client costs are bounded; Shutdown sends every client to
// another node and waits until all requests have ended.
package api
