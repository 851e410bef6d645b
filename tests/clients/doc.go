// Package clients follows Tidemark with popular event stream clients of other authors. Their
// connections break between two events and inside one. Each must resume by its own means
// with Last-Event-ID and miss nothing, on every log.
package clients
