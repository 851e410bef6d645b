// Package deploy tests the files in deploy/ and the commands in docs/operations.md: the
// proxies run in front of two real nodes on a real Redis, systemd checks the unit, and the
// commands of the page run unchanged.
package deploy
