// Package browser drives the console in a real Chromium. The page's own EventSource does
// every resume: after a cut by the page, a broken connection, and a restart of the server.
package browser
