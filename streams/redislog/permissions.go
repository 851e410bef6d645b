package redislog

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tidemark/tidemark/streams"
)

// needed are the commands that the user of a log with that default durability needs
// to be allowed to run, each with words that make it one of this partition's. In a Cluster the client needs
// CLUSTER SLOTS as well, and SELECT where the URL has another database than 0. A
// connection that lacks one of these does not get this far.
//
// The rule in docs/redis.md has the same commands; a test runs the log with it.
func (p *partition) needed(d streams.Durability) [][]string {
	clock, stream, tail, record, channel, probe := p.clock(), p.stream("r"), p.tail("r"), p.record("r", "k"), p.channel("r"), p.probe("r")
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

// allowedScript says which commands the user may not run; it runs none.
//
//	KEYS[1]  a key of the node that is asked
//	ARGV     for each command: how many words it has, and the words
//
// It returns the first word of each. What Redis does not know is not denied, and
// Redis 6 can't be asked: others say so.
var allowedScript = newScript(`
local denied, i = {}, 1
while redis.acl_check_cmd and i < #ARGV do
  local n = tonumber(ARGV[i])
  local known, may = pcall(redis.acl_check_cmd, unpack(ARGV, i + 1, i + n))
  if known and not may then denied[#denied + 1] = ARGV[i + 1] end
  i = i + 1 + n
end
return denied
`)

// allowed returns ErrSettings if the user lacks a permission. In a Cluster each
// node has its own users.
func (l *Log) allowed(ctx context.Context, p *partition) error {
	var words []any
	for _, command := range slices.Concat(p.needed(l.opt.Durability), l.opt.RequiredCommands) {
		words = append(words, strconv.Itoa(len(command)))
		for _, word := range command {
			words = append(words, word)
		}
	}
	denied, err := allowedScript.Run(ctx, l.client, []string{p.clock()}, words...).StringSlice()
	switch {
	case err != nil:
		return notLetIn(err)
	case len(denied) > 0:
		return fmt.Errorf("%w: its user may not run %s on the keys and channels that start with %s; docs/redis.md has the rule for its ACL",
			ErrSettings, strings.Join(denied, ", "), p.tag[:strings.LastIndexByte(p.tag, ':')+1])
	}
	return nil
}
