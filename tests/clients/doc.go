// Package clients follows Tidemark with the event stream clients that people
// use, none of them Tidemark's own: each through lines that break, between two
// events and inside one, and each has to come back by its own means with
// Last-Event-ID and miss nothing, on every log.
package clients
