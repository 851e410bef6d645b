// Package config holds the config commands: check the configuration of a node, and print the
// reference of all settings.
package config

import (
	"fmt"
	"os"
	"time"

	"github.com/alecthomas/kong"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
	"github.com/tidemark/tidemark/cmd/tidemark/internal/serve"
	"github.com/tidemark/tidemark/cmd/tidemark/internal/settings"
)

// Cmd groups the config commands.
type Cmd struct {
	Check     Check     `cmd:"" help:"Check whether a node would start, and print its settings."`
	Reference Reference `cmd:"" help:"Print a reference of all settings, as Markdown."`
}

// Check is the command config check. It takes the flags of serve, so that it checks the same
// command line.
type Check struct {
	serve.Cmd
}

// Help returns the text of --help below the usage line.
func (Check) Help() string {
	return `Reads the flags, environment variables and configuration file that 'tidemark serve' would read, and the files with secrets, keys and certificates that they name. Prints each setting with the source of its value, without passwords and secrets, and every problem that would stop a node from starting.

It starts nothing and does not use the network or open the log. Use 'tidemark doctor' to check Redis.

    tidemark config check --config /etc/tidemark/tidemark.yaml

Exits with 0 if a node would start, and otherwise with 2.`
}

// Run prints the settings, warnings and problems.
func (c *Check) Run(std cli.Stdio, ctx *kong.Context, file settings.File) error {
	if err := printSettings(std.Out, ctx, file); err != nil {
		return err
	}
	for _, warning := range c.warnings(ctx.Model) {
		fmt.Fprintln(std.Err, "tidemark: warning:", warning)
	}
	problems := c.Problems()
	if len(problems) == 0 {
		_, err := fmt.Fprintln(std.Out, "\nok: a node would start with this")
		return err
	}
	for _, problem := range problems {
		fmt.Fprintln(std.Err, "tidemark: error:", cli.ErrorText(problem))
	}
	return cli.UsageError("a node would not start with this")
}

// warnings returns probable mistakes that do not stop a node from starting.
func (c *Check) warnings(app *kong.Application) []string {
	warnings := settings.UnknownVariables(app, os.Environ())
	for _, f := range []struct{ flag, file string }{{"tls-cert", c.TLSCert}, {"redis-ca", c.RedisCA}, {"redis-cert", c.RedisCert}} {
		warnings = append(warnings, expiryWarnings(f.flag, f.file, time.Now())...)
	}
	return warnings
}
