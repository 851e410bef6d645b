package serve

import (
	"log/slog"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
	"github.com/tidemark/tidemark/limits"
	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/redislog"
)

// connectionFlags bound the number of open streams and WebSockets, and apart from them the
// number of history requests in progress.
type connectionFlags struct {
	MaxConnections           int `placeholder:"N" group:"limits" help:"Maximum number of open streams and WebSockets on this node, and separately of history requests in progress (default: no limit)."`
	MaxConnectionsPerAddress int `placeholder:"N" group:"limits" help:"Maximum number of open streams and WebSockets from one client address, or IPv6 /64 network, on this node, and separately of history requests in progress (default: no limit)."`
	MaxConnectionsPerUser    int `placeholder:"N" group:"limits" help:"Maximum number of open streams and WebSockets of one user over all nodes, and separately of history requests in progress on one node. Needs tokens, which name the user (default: no limit)."`
}

// check refuses limits that are negative or have no effect. acceptsTokens tells whether
// users are known.
func (f *connectionFlags) check(acceptsTokens bool) error {
	for _, flag := range []struct {
		name  string
		value int
	}{
		{"max-connections", f.MaxConnections},
		{"max-connections-per-address", f.MaxConnectionsPerAddress},
		{"max-connections-per-user", f.MaxConnectionsPerUser},
	} {
		if flag.value < 0 {
			return cli.UsageError("--" + flag.name + ": want 1 or more, or 0 for no limit")
		}
	}
	if f.MaxConnectionsPerUser > 0 && !acceptsTokens {
		return cli.UsageError("--max-connections-per-user has no effect without tokens, which name the user: add --auth-secret-file, --auth-public-key-file or --auth-jwks-url")
	}
	return nil
}

// openConnectionLimiter returns the limiter of connections, or nil without limits. With a
// log in Redis, users are counted over all nodes.
func (f *connectionFlags) openConnectionLimiter(log streams.Log, logger *slog.Logger) *limits.ConnectionLimiter {
	if *f == (connectionFlags{}) {
		return nil
	}
	o := limits.ConnectionOptions{
		PerNode: f.MaxConnections, PerAddress: f.MaxConnectionsPerAddress, PerUser: f.MaxConnectionsPerUser,
		Logger: logger,
	}
	if shared, ok := log.(*redislog.Log); ok {
		o.Redis, o.Prefix = shared.Client(), shared.Prefix()
	}
	return limits.NewConnectionLimiter(o)
}

// openHistoryLimiter returns the limiter of history requests in progress, or nil without
// limits. It counts users on this node alone: such a request is short.
func (f *connectionFlags) openHistoryLimiter() *limits.ConnectionLimiter {
	if *f == (connectionFlags{}) {
		return nil
	}
	return limits.NewConnectionLimiter(limits.ConnectionOptions{
		PerNode: f.MaxConnections, PerAddress: f.MaxConnectionsPerAddress, PerUser: f.MaxConnectionsPerUser,
	})
}
