// Package compose runs what compose.yaml describes, as processes on loopback:
// two nodes, a Redis that appends, and nginx in front, with the settings of the
// very files that people start.
package compose
