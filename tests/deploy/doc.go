// Package deploy tests what is in deploy/ and what docs/operations.md says: the proxies run
// in front of two real nodes on a real Redis, the unit is judged by systemd, and the page's
// commands are run as they stand.
package deploy
