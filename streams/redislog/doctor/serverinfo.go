package doctor

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

// maxLag is how many seconds a replica may be silent. A replica reports every second.
const maxLag = 10

// settingNames are the settings that Examine reads with CONFIG GET.
var settingNames = []string{
	"appendfsync", "no-appendfsync-on-rewrite", "save", "stop-writes-on-bgsave-error",
	"min-replicas-to-write", "client-output-buffer-limit", "timeout", "tcp-keepalive",
}

// A serverInfo is what one server reports about itself. Managed services refuse some
// commands; the values of those are missing.
type serverInfo struct {
	addr   string
	info   map[string]string // INFO
	config map[string]string // CONFIG GET

	infoErr, configErr error

	// ahead is the difference between the server's clock and this machine's, with an error
	// of at most slack.
	ahead, slack time.Duration
	clockErr     error
}

// readServer reads a server, within limit for each command.
func readServer(ctx context.Context, c *redis.Client, addr string, limit time.Duration) serverInfo {
	s := serverInfo{addr: addr, config: map[string]string{}}
	var text string
	if text, s.infoErr = ask(ctx, limit, func(ctx context.Context) (string, error) { return c.Info(ctx).Result() }); s.infoErr == nil {
		s.info = parseInfo(text)
	}
	s.configErr = s.readConfig(ctx, c, limit)
	s.readClock(ctx, c, limit)
	return s
}

func (s *serverInfo) readConfig(ctx context.Context, c *redis.Client, limit time.Duration) error {
	words := []any{"config", "get"}
	for _, name := range settingNames {
		words = append(words, name)
	}
	pairs, err := ask(ctx, limit, func(ctx context.Context) ([]string, error) { return c.Do(ctx, words...).StringSlice() })
	for i := 0; i+1 < len(pairs); i += 2 {
		s.config[pairs[i]] = pairs[i+1]
	}
	return err
}

// readClock compares the server's clock with this machine's. The server reads its clock at
// some moment between the request and the reply.
func (s *serverInfo) readClock(ctx context.Context, c *redis.Client, limit time.Duration) {
	asked := time.Now()
	var there time.Time
	there, s.clockErr = ask(ctx, limit, func(ctx context.Context) (time.Time, error) { return c.Time(ctx).Result() })
	s.slack = time.Since(asked) / 2
	s.ahead = there.Sub(asked.Add(s.slack))
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

// number returns a number of INFO. known is false if it is missing.
func (s *serverInfo) number(name string) (n int64, known bool) {
	n, err := strconv.ParseInt(s.info[name], 10, 64)
	return n, err == nil
}

// setting returns a numeric setting. known is false if it is missing.
func (s *serverInfo) setting(name string) (n int64, known bool) {
	n, err := strconv.ParseInt(s.config[name], 10, 64)
	return n, err == nil
}

// atLeast reports whether the server has that version or a newer one. known is false if
// the version is missing.
func (s *serverInfo) atLeast(major, minor int) (yes, known bool) {
	var haveMajor, haveMinor int
	if _, err := fmt.Sscanf(s.info["redis_version"], "%d.%d", &haveMajor, &haveMinor); err != nil {
		return false, false
	}
	return haveMajor > major || haveMajor == major && haveMinor >= minor, true
}

// A replica is a replica as its primary reports it.
type replica struct {
	addr   string
	online bool
	lag    int64 // seconds since the primary last heard from it
}

// replicas reads the lines slave<n>:ip=…,port=…,state=…,offset=…,lag=….
func (s *serverInfo) replicas() []replica {
	var all []replica
	for i := 0; ; i++ {
		line, ok := s.info["slave"+strconv.Itoa(i)]
		if !ok {
			return all
		}
		fields := map[string]string{}
		for field := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(field, "=")
			fields[name] = value
		}
		lag, _ := strconv.ParseInt(fields["lag"], 10, 64)
		all = append(all, replica{net.JoinHostPort(fields["ip"], fields["port"]), fields["state"] == "online", lag})
	}
}

// inStep returns the number of replicas that are up to date, or nearly.
func (s *serverInfo) inStep() int {
	n := 0
	for _, r := range s.replicas() {
		if r.online && r.lag <= maxLag {
			n++
		}
	}
	return n
}

// pubsubLimits reads "pubsub hard soft seconds" from client-output-buffer-limit, in bytes.
func (s *serverInfo) pubsubLimits() (hard, soft int64, known bool) {
	_, after, found := strings.Cut(" "+s.config["client-output-buffer-limit"], " pubsub ")
	n, _ := fmt.Sscanf(after, "%d %d", &hard, &soft)
	return hard, soft, found && n == 2
}
