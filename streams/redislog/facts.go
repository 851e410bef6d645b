package redislog

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// settingsRead are the settings that Examine asks for.
var settingsRead = []string{
	"appendfsync", "no-appendfsync-on-rewrite", "save", "stop-writes-on-bgsave-error",
	"min-replicas-to-write", "client-output-buffer-limit", "timeout", "tcp-keepalive",
}

// facts are what one server says of itself. Managed services refuse some questions:
// what was not answered is not there.
type facts struct {
	addr   string
	info   map[string]string // INFO
	config map[string]string // CONFIG GET

	infoErr, configErr error

	// ahead is how far the server's clock is ahead of this machine's, give or take slack.
	ahead, slack time.Duration
	clockErr     error
}

// learn asks a server, within limit for each question.
func learn(ctx context.Context, c *redis.Client, addr string, limit time.Duration) facts {
	f := facts{addr: addr, config: map[string]string{}}
	var text string
	if text, f.infoErr = ask(ctx, limit, func(ctx context.Context) (string, error) { return c.Info(ctx).Result() }); f.infoErr == nil {
		f.info = parseInfo(text)
	}
	f.configErr = f.learnConfig(ctx, c, limit)
	f.learnClock(ctx, c, limit)
	return f
}

// ask puts one question within limit.
func ask[T any](ctx context.Context, limit time.Duration, question func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return question(ctx)
}

func (f *facts) learnConfig(ctx context.Context, c *redis.Client, limit time.Duration) error {
	words := []any{"config", "get"}
	for _, name := range settingsRead {
		words = append(words, name)
	}
	pairs, err := ask(ctx, limit, func(ctx context.Context) ([]string, error) { return c.Do(ctx, words...).StringSlice() })
	for i := 0; i+1 < len(pairs); i += 2 {
		f.config[pairs[i]] = pairs[i+1]
	}
	return err
}

// learnClock compares the clocks. The answer was written between the question and
// its arrival.
func (f *facts) learnClock(ctx context.Context, c *redis.Client, limit time.Duration) {
	asked := time.Now()
	var there time.Time
	there, f.clockErr = ask(ctx, limit, func(ctx context.Context) (time.Time, error) { return c.Time(ctx).Result() })
	f.slack = time.Since(asked) / 2
	f.ahead = there.Sub(asked.Add(f.slack))
}

// parseInfo reads the lines name:value of INFO.
func parseInfo(text string) map[string]string {
	info := map[string]string{}
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok {
			info[name] = value
		}
	}
	return info
}

// number returns a number of INFO, and whether it is there.
func (f *facts) number(name string) (int64, bool) {
	n, err := strconv.ParseInt(f.info[name], 10, 64)
	return n, err == nil
}

// setting returns a setting that is a number, and whether it is known.
func (f *facts) setting(name string) (int64, bool) {
	n, err := strconv.ParseInt(f.config[name], 10, 64)
	return n, err == nil
}

// since reports whether the server is of that version or later, if that is known.
func (f *facts) since(major, minor int) (yes, known bool) {
	var haveMajor, haveMinor int
	if _, err := fmt.Sscanf(f.info["redis_version"], "%d.%d", &haveMajor, &haveMinor); err != nil {
		return false, false
	}
	return haveMajor > major || haveMajor == major && haveMinor >= minor, true
}

// A follower is a replica, as its master sees it.
type follower struct {
	addr   string
	online bool
	lag    int64 // seconds since it was last heard of
}

// followers reads the lines slave<n>:ip=…,port=…,state=…,offset=…,lag=….
func (f *facts) followers() []follower {
	var all []follower
	for i := 0; ; i++ {
		line, ok := f.info["slave"+strconv.Itoa(i)]
		if !ok {
			return all
		}
		fields := map[string]string{}
		for field := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(field, "=")
			fields[name] = value
		}
		lag, _ := strconv.ParseInt(fields["lag"], 10, 64)
		all = append(all, follower{net.JoinHostPort(fields["ip"], fields["port"]), fields["state"] == "online", lag})
	}
}

// inStep returns how many replicas have what the master has, or nearly.
func (f *facts) inStep() int {
	n := 0
	for _, r := range f.followers() {
		if r.online && r.lag <= maxLag {
			n++
		}
	}
	return n
}
