package main

import (
	"log/slog"

	"github.com/tidemark/tidemark/limits"
	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/redislog"
)

// seatFlags say how many connections there may be that stay: streams and sockets.
type seatFlags struct {
	MaxConnections           int `placeholder:"N" group:"limits" help:"Most streams and WebSockets at a time on this node (default: no limit)."`
	MaxConnectionsPerAddress int `placeholder:"N" group:"limits" help:"The same of one address, or IPv6 /64, on this node (default: no limit)."`
	MaxConnectionsPerUser    int `placeholder:"N" group:"limits" help:"The same of one user, who shows tokens, on all nodes (default: no limit)."`
}

// checkSeats refuses what makes no sense. tokens says that users are known.
func (f *seatFlags) checkSeats(tokens bool) error {
	for _, flag := range []struct {
		name  string
		value int
	}{
		{"max-connections", f.MaxConnections},
		{"max-connections-per-address", f.MaxConnectionsPerAddress},
		{"max-connections-per-user", f.MaxConnectionsPerUser},
	} {
		if flag.value < 0 {
			return usageError("--" + flag.name + ": want 1 or more, or 0 for no limit")
		}
	}
	if f.MaxConnectionsPerUser > 0 && !tokens {
		return usageError("--max-connections-per-user: nobody is asked for a token that says who they are: want --auth-secret-file, --auth-public-key-file or --auth-jwks-url too")
	}
	return nil
}

// openSeats returns what counts connections, nil where nothing is to be counted. Those of
// users are counted on all nodes that share log, if it is one that nodes share.
func (f *seatFlags) openSeats(log streams.Log, logger *slog.Logger) *limits.ConnectionLimiter {
	if *f == (seatFlags{}) {
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
