package serve

import (
	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
)

// Problems returns the reasons why a node with these settings would not start: values out of
// range, contradictions, settings without effect, and unusable files. It uses no network
// and does not open the log. serve and config check both call it, so they agree.
func (c *Cmd) Problems() []error {
	var problems []error
	for _, err := range []error{
		c.limitFlags.check(),
		c.memoryFlags.check(c.MaxData),
		c.RedisFlags.Check(),
		c.authFlags.check(),
		c.connectionFlags.check(c.acceptsTokens()),
		c.checkCredentials(),
		c.listenFlags.check(c.requiresCredentials()),
		c.tlsFlags.check(),
		c.checkH2C(),
		c.drainFlags.check(),
		c.checkEventLog(),
		checkTracing(c.name()),
		c.profilerFlags.check(),
	} {
		if err != nil {
			problems = append(problems, err)
		}
	}
	return problems
}

// checkCredentials reads the files with secrets and keys.
func (c *Cmd) checkCredentials() error {
	if !c.requiresCredentials() {
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

// checkH2C refuses --h2c together with TLS.
func (c *Cmd) checkH2C() error {
	if c.H2C && c.TLSCert != "" {
		return cli.UsageError("--h2c has no effect with --tls-cert: over TLS the node always accepts HTTP/2")
	}
	return nil
}

func (c *Cmd) checkEventLog() error {
	if c.Redis != "" {
		return c.redisOptions().Check()
	}
	return c.eventLogFlags.checkEmbedded(c.Durability)
}
