package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/streams"
)

// problems says why a node with these settings would not start, as far as that can be
// known without the network and without opening the log: what is out of range, what
// contradicts itself, what has no effect, and what the files that are named lack. serve
// and config check both go by it, so that one does not promise what the other refuses.
func (c *serveCmd) problems() []error {
	var found []error
	for _, err := range []error{
		c.checkLimits(),
		c.redisFlags.check(),
		c.checkAuth(),
		c.checkSeats(c.tokens()),
		c.checkAccess(),
		c.checkListen(),
		c.checkTLS(),
		c.checkDrain(),
		c.checkLog(),
		c.checkTraces(),
		c.checkProfiles(),
	} {
		if err != nil {
			found = append(found, err)
		}
	}
	return found
}

// firstProblem is for serve, which says one thing on one line.
func (c *serveCmd) firstProblem() error {
	if found := c.problems(); len(found) > 0 {
		return found[0]
	}
	return nil
}

// checkListen looks at an address that needs no looking up; serve looks at the others
// once they are.
func (c *serveCmd) checkListen() error {
	if path, ok := c.socket(); ok {
		return checkSocket(path) // whom it lets in, its mode says
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return usageError(fmt.Sprintf("--listen %s: want HOST:PORT, :PORT or unix:/path", c.Listen))
	}
	if _, err := net.LookupPort("tcp", port); err != nil { // which asks no network
		return usageError(fmt.Sprintf("--listen %s: %v", c.Listen, err))
	}
	ip, err := netip.ParseAddr(host)
	if host != "" && err != nil { // a name
		return nil
	}
	return c.checkExposure(ip.Unmap().IsLoopback())
}

// checkExposure refuses all but loopback addresses where nobody is asked who they are,
// unless told otherwise.
func (c *serveCmd) checkExposure(loopback bool) error {
	if loopback || c.Insecure || c.asks() {
		return nil
	}
	return usageError(fmt.Sprintf("--listen %s is not a loopback address, and nobody is asked for a token or key: "+
		"whoever reaches the port could publish and read everything; "+
		"give --auth-secret-file or another --auth flag, or say --insecure on a network that you trust", c.Listen))
}

// checkAccess reads the files with keys of tokens, and asks nobody.
func (c *serveCmd) checkAccess() error {
	if !c.asks() {
		return nil
	}
	options, err := c.accessOptions()
	if err != nil {
		return err
	}
	if err := access.Check(options); err != nil {
		return unusableKeys(err)
	}
	return nil
}

func (c *serveCmd) checkLog() error {
	switch {
	case c.Redis != "":
		return c.logOptions().Check()
	case c.Durability == streams.Replicated:
		return usageError("--durability replicated: the embedded log has no replicas; use --redis")
	}
	return checkDirectory(c.Data)
}

// checkDirectory refuses a name under which no directory is or can be made.
func checkDirectory(name string) error {
	info, err := os.Stat(name)
	switch {
	case err == nil && !info.IsDir():
		return fmt.Errorf("--data: %s is not a directory", name)
	case err == nil:
		return nil
	case !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("--data: %w", err)
	}
	if parent := filepath.Dir(name); parent != name {
		return checkDirectory(parent)
	}
	return nil
}
