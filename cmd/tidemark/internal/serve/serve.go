// Package serve is the serve command: its flags, the checks of their values, and the
// composition of a node. Each topic has its own file with its flags, their check, and the
// part of the node that they configure.
package serve

import (
	"cmp"
	"os"

	"github.com/alecthomas/kong"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
	"github.com/tidemark/tidemark/cmd/tidemark/internal/settings"
)

// Cmd is the serve command. The order of the fields is the order of the flags in --help.
type Cmd struct {
	listenFlags

	tlsFlags

	Node string `placeholder:"NAME" help:"Name of this node in logs, traces and messages to clients (default: the host name)."`

	drainFlags

	eventLogFlags

	authFlags

	limitFlags

	memoryFlags

	connectionFlags

	settings.RedisFlags

	loggerFlags

	profilerFlags
}

// Build describes the program to a node.
type Build struct {
	Version string
	Metric  prometheus.Collector // its constant metric with the version
}

// Help returns the text of --help below the usage line.
func (Cmd) Help() string {
	return `Without --redis the node keeps the event log in a directory on disk and syncs it before it answers a publish. This mode needs no other software and allows one node. With --redis, any number of nodes share the log; put a load balancer in front of them.

    tidemark serve                                         event log in ./tidemark-data
    tidemark serve --redis redis://localhost:6379/0        one of several nodes
    tidemark serve --retain 'chat.*=5000,7d' --retain 'cursor.*=0'
    tidemark serve --listen :8080 --auth-secret-file secret     requires tokens: see 'tidemark token --help'
    tidemark serve --listen :8443 --tls-cert cert.pem --tls-key key.pem --auth-secret-file secret
    tidemark serve --listen unix:/run/tidemark/tidemark.sock
    TIDEMARK_LISTEN=127.0.0.1:9000 tidemark serve

SIGINT and SIGTERM stop the node in this order: /readyz answers 503; after --drain-pause the node accepts no more connections; over --drain-spread it tells its clients to reconnect elsewhere; it answers the publishes that have begun; it closes the log. A second signal stops it at once.`
}

// Run runs a node until it is told to stop.
func (c *Cmd) Run(std cli.Stdio, command *kong.Context, build Build) error {
	if problems := c.Problems(); len(problems) > 0 {
		return problems[0] // an error of the program is one line
	}
	ctx, stop := cli.SignalContext()
	defer stop()
	format := c.LogFormat.resolve(std.Err)
	logger := newLogger(std.Err, format, c.LogLevel)
	for _, warning := range settings.UnknownVariables(command.Model, os.Environ()) {
		logger.Warn(warning)
	}
	n := &node{Cmd: c, build: build, logger: logger.With("node", c.name())}
	if format == formatText {
		n.welcome = std.Out
	}
	return n.run(ctx)
}

// name returns the name of the node.
func (c *Cmd) name() string {
	host, _ := os.Hostname() // on error it is ""
	return cmp.Or(c.Node, host, "tidemark")
}
