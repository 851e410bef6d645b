// Package compose runs the services of compose.yaml as processes on loopback: two nodes, a
// Redis with an append-only file, and nginx in front, with the settings of the files
// themselves.
package compose
