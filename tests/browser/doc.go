// Package browser drives the console in a real Chromium: the page's own
// EventSource does every resume, through a cut by the page, a broken line, and a
// server that is restarted.
package browser
