// Package permissions checks that a Redis user may run every command of the log. A missing
// permission would otherwise show at the first event or never, because a feed just retries.
package permissions

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams"
	"github.com/tidemark/tidemark/streams/redislog/internal/keys"
	"github.com/tidemark/tidemark/streams/redislog/internal/rediserr"
	"github.com/tidemark/tidemark/streams/redislog/internal/scripts"
)

// required returns the commands that the log runs with that default durability, each with
// arguments of this partition. In a Cluster the client also needs CLUSTER SLOTS, and it
// needs SELECT for a database other than 0. Without these it has no connection to check.
//
// The ACL rule in docs/redis.md has the same commands. A test runs the log with it.
func required(p *keys.Partition, d streams.Durability) [][]string {
	clock, stream, tail, record := p.Clock(), p.Stream("r"), p.Tail("r"), p.Record("r", "k")
	channel, probe := p.Channel("r"), p.FeedProbe("r")
	commands := [][]string{
		{"eval", "", "1", clock},
		{"evalsha", "", "1", clock},
		{"time"},
		{"hmget", clock, "last"},
		{"hset", clock, "last", ""},
		{"persist", clock},
		{"xadd", stream, "*", "f", "v"},
		{"xtrim", stream, "MINID", "0"},
		{"xrange", stream, "-", "+"},
		{"xrevrange", stream, "+", "-"},
		{"pexpire", stream, "1"},
		{"get", tail},
		{"mget", tail},
		{"set", tail, ""},
		{"get", record},
		{"set", record, ""},
		{"spublish", channel, ""},
		{"ssubscribe", channel},
		{"spublish", probe, ""},
		{"ssubscribe", probe},
		{"sunsubscribe", channel},
		{"ping"},
	}
	switch d {
	case streams.Replicated:
		commands = append(commands, []string{"wait", "1", "1"})
	case streams.Fsynced:
		commands = append(commands, []string{"waitaof", "1", "0", "1"})
	}
	return commands
}

// deniedScript returns the commands that the user may not run. It runs none of them.
//
//	KEYS[1]  a key of the node to ask
//	ARGV     for each command: the number of its words, and the words
//
// It returns the first word of each denied command. A command that Redis does not know
// does not count as denied. Redis 6 cannot answer; scripts.Create reports its version.
var deniedScript = scripts.New(`
local denied, i = {}, 1
while redis.acl_check_cmd and i < #ARGV do
  local n = tonumber(ARGV[i])
  local known, may = pcall(redis.acl_check_cmd, unpack(ARGV, i + 1, i + n))
  if known and not may then denied[#denied + 1] = ARGV[i + 1] end
  i = i + 1 + n
end
return denied
`)

// Check asks the node of the partition whether the user may run the log's commands and
// further ones. If a permission is missing, the error is ErrSettings. In a Cluster each
// node has its own users.
func Check(ctx context.Context, client redis.UniversalClient, p *keys.Partition, d streams.Durability, further [][]string) error {
	var words []any
	for _, command := range slices.Concat(required(p, d), further) {
		words = append(words, strconv.Itoa(len(command)))
		for _, word := range command {
			words = append(words, word)
		}
	}
	denied, err := deniedScript.Run(ctx, client, []string{p.Clock()}, words...).StringSlice()
	switch {
	case err != nil:
		return rediserr.AtStart(err)
	case len(denied) > 0:
		return fmt.Errorf("%w: its user may not run %s on the keys and channels that start with %s; docs/redis.md has the rule for its ACL",
			rediserr.ErrSettings, strings.Join(denied, ", "), p.Tag()[:strings.LastIndexByte(p.Tag(), ':')+1])
	}
	return nil
}
