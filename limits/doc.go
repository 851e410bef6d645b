// Package limits keeps callers within bounds. It knows nothing of HTTP: package api
// says who a caller is, and what the caller is told.
package limits
