package redislog

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A shape is how a Redis is set up, and so how it is reached.
type shape uint8

const (
	single   shape = iota // one server, over TCP
	socket                // one server, over a Unix socket
	sentinel              // a master that Sentinels name
	cluster               // a Redis Cluster
)

// schemes are the URLs' schemes. Each shape but a socket has one with TLS too.
var schemes = map[string]struct {
	shape shape
	tls   bool
}{
	"redis":           {single, false},
	"rediss":          {single, true},
	"unix":            {socket, false},
	"redis+sentinel":  {sentinel, false},
	"rediss+sentinel": {sentinel, true},
	"redis+cluster":   {cluster, false},
	"rediss+cluster":  {cluster, true},
}

const (
	redisPort    = "6379"
	sentinelPort = "26379"

	// maxPool bounds the numbers of connections in a URL, against slips of the pen.
	maxPool = 10_000
)

// A place is what a URL says: where a Redis is, and as whom to go there.
type place struct {
	shape shape
	tls   bool
	addrs []string // host:port, or the path of the socket; of Sentinels or of some nodes of a Cluster

	user, password                 string // of Redis
	sentinelUser, sentinelPassword string
	master                         string // the name that Sentinels know it by
	db                             int

	clientName               string
	poolSize, minIdle        int           // connections; 0 means go-redis's default
	maxIdleTime, maxLifetime time.Duration // of a connection; 0 means go-redis's default
}

// Errors about URLs quote nothing that may be part of a password: of a URL that
// can't be read, nobody knows which part is the password.
var (
	errNoURL  = errors.New("no URL is given; want one like redis://host:6379")
	errScheme = errors.New("the URL's scheme is none of redis, rediss, unix, redis+sentinel, rediss+sentinel, redis+cluster, rediss+cluster")
	errEscape = errors.New("the URL has a #, or an @ after its addresses: in a user's name, a password or a path, " +
		"characters such as / ? # @ : % must be written as %2F %3F %23 %40 %3A %25")
	errUserinfo = errors.New("the URL's user or password has a % that is not followed by two hexadecimal digits: write %25")
	errNoSecret = errors.New("the URL names a user, and there is no password: write user:password@, or give the password in a file")
)

// parseURL reads a URL of one of the forms that Options lists.
func parseURL(s string) (place, error) {
	if s == "" {
		return place{}, errNoURL
	}
	scheme, rest, ok := strings.Cut(s, "://")
	kind, known := schemes[scheme]
	if !ok || !known {
		return place{}, errScheme
	}
	rest, query, _ := strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	if strings.Contains(s, "#") || strings.Contains(path, "@") || strings.Contains(query, "@") {
		return place{}, errEscape
	}
	to := place{shape: kind.shape, tls: kind.tls}
	hosts, err := to.setUser(authority)
	if err != nil {
		return place{}, err
	}
	for _, set := range []func() error{
		func() error { return to.setAddrs(hosts, path) },
		func() error { return to.setParams(query) },
		to.check,
	} {
		if err := set(); err != nil {
			return place{}, err
		}
	}
	return to, nil
}

// setUser takes what is before the last @, and returns what is after it.
func (to *place) setUser(authority string) (hosts string, err error) {
	at := strings.LastIndexByte(authority, '@')
	if at < 0 {
		return authority, nil
	}
	user, password, _ := strings.Cut(authority[:at], ":")
	for _, part := range []struct {
		to   *string
		from string
	}{{&to.user, user}, {&to.password, password}} {
		if *part.to, err = url.PathUnescape(part.from); err != nil {
			return "", errUserinfo
		}
	}
	return authority[at+1:], nil
}

func (to *place) setAddrs(hosts, path string) error {
	if to.shape == socket {
		return to.setSocket(hosts, path)
	}
	if hosts == "" {
		hosts = "localhost"
	}
	for i, addr := range strings.Split(hosts, ",") {
		if err := to.addAddr(addr); err != nil {
			return fmt.Errorf("the URL's address %d: %w", i+1, err)
		}
	}
	if path != "" {
		return to.setDB(path)
	}
	return nil
}

func (to *place) setSocket(hosts, path string) error {
	name, err := url.PathUnescape("/" + path)
	switch {
	case hosts != "":
		return errors.New("the URL of a socket has no host: want unix:///path/to/redis.sock")
	case err != nil:
		return errors.New("the socket's path has a % that is not followed by two hexadecimal digits: write %25")
	case path == "":
		return errors.New("the URL names no socket: want unix:///path/to/redis.sock")
	}
	to.addrs = []string{name}
	return nil
}

// addAddr adds host:port, or host alone, which means the usual port.
func (to *place) addAddr(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil { // no port, or nonsense, which the host's check finds
		host, port = strings.TrimSuffix(strings.TrimPrefix(addr, "["), "]"), redisPort
		if to.shape == sentinel {
			port = sentinelPort
		}
	}
	if host == "" && err == nil {
		host = "localhost"
	}
	if !validHost(host) {
		return errors.New("not a host name or an IP address (IPv6 goes into brackets)")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return errors.New("the port is not a number from 1 to 65535")
	}
	to.addrs = append(to.addrs, net.JoinHostPort(host, port))
	return nil
}

func validHost(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	return host != "" && !strings.ContainsFunc(host, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !letter && r != '.' && r != '-' && r != '_'
	})
}

func (to *place) setDB(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return errors.New("the URL's database is not a number")
	}
	to.db = n
	return nil
}

// setParams reads the parameters. Their values are not quoted in errors, for one
// may be a password.
func (to *place) setParams(query string) error {
	params, err := url.ParseQuery(query)
	if err != nil {
		return errors.New("the URL's parameters cannot be read: want name=value&name=value")
	}
	names := make([]string, 0, len(params))
	for name := range params {
		names = append(names, name)
	}
	slices.Sort(names) // the same error each time
	for _, name := range names {
		set, known := paramSetters[name]
		switch {
		case !known:
			return unknownParam(name)
		case len(params[name]) > 1 && name != "addr":
			return fmt.Errorf("the URL's parameter %s is given twice", name)
		}
		for _, value := range params[name] {
			if err := set(to, value); err != nil {
				return fmt.Errorf("the URL's parameter %s: %w", name, err)
			}
		}
	}
	return nil
}

// paramSetters are the parameters, most of them go-redis's.
var paramSetters = map[string]func(*place, string) error{
	"addr":               (*place).addAddr,
	"db":                 (*place).setDB,
	"master_name":        text(func(to *place) *string { return &to.master }),
	"sentinel_username":  text(func(to *place) *string { return &to.sentinelUser }),
	"sentinel_password":  text(func(to *place) *string { return &to.sentinelPassword }),
	"client_name":        text(func(to *place) *string { return &to.clientName }),
	"pool_size":          number(func(to *place) *int { return &to.poolSize }),
	"min_idle_conns":     number(func(to *place) *int { return &to.minIdle }),
	"conn_max_idle_time": span(func(to *place) *time.Duration { return &to.maxIdleTime }),
	"conn_max_lifetime":  span(func(to *place) *time.Duration { return &to.maxLifetime }),
}

func text(field func(*place) *string) func(*place, string) error {
	return func(to *place, value string) error {
		if value == "" {
			return errors.New("it is empty")
		}
		*field(to) = value
		return nil
	}
}

func number(field func(*place) *int) func(*place, string) error {
	return func(to *place, value string) error {
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 || n > maxPool {
			return fmt.Errorf("want a number from 1 to %d", maxPool)
		}
		*field(to) = n
		return nil
	}
}

// span reads a duration; a number alone is seconds, as go-redis has it.
func span(field func(*place) *time.Duration) func(*place, string) error {
	return func(to *place, value string) error {
		if _, err := strconv.Atoi(value); err == nil {
			value += "s"
		}
		d, err := time.ParseDuration(value)
		if err != nil || d <= 0 {
			return errors.New("want a time such as 5m or 90s")
		}
		*field(to) = d
		return nil
	}
}

// notHere says of go-redis's other parameters what to do instead. The promises
// hang on what the log sets in their place.
var notHere = map[string]string{
	"username":         "the user goes before the @, and a Sentinel's into sentinel_username",
	"password":         "the password goes before the @, and a Sentinel's into sentinel_password",
	"dial_timeout":     "time-outs are options of their own",
	"read_timeout":     "time-outs are options of their own",
	"write_timeout":    "time-outs are options of their own",
	"pool_timeout":     "time-outs are options of their own",
	"skip_verify":      "a certificate is always verified: name the file with the authority that signed it",
	"read_only":        "the log is read where it is written",
	"replica_only":     "the log is read where it is written",
	"route_by_latency": "the log is read where it is written",
	"route_randomly":   "the log is read where it is written",
	"max_retries":      "an append is never repeated by itself",
}

func unknownParam(name string) error {
	if why, ok := notHere[name]; ok {
		return fmt.Errorf("the URL's parameter %s is not for here: %s", name, why)
	}
	return fmt.Errorf("the URL has an unknown parameter %q", name)
}

// check looks whether the parts go together.
func (to *place) check() error {
	switch several := to.shape == sentinel || to.shape == cluster; {
	case len(to.addrs) > 1 && !several:
		return errors.New("this URL has room for one address: for several it starts with redis+cluster:// or redis+sentinel://")
	case to.shape == sentinel && to.master == "":
		return errors.New("the URL of a Sentinel needs the master's name: redis+sentinel://host:26379/0?master_name=mymaster")
	case to.shape != sentinel && (to.master != "" || to.sentinelUser != "" || to.sentinelPassword != ""):
		return errors.New("master_name and the Sentinels' user and password are for redis+sentinel://")
	case to.shape == cluster && to.db != 0:
		return errors.New("a cluster has database 0 only")
	case to.poolSize > 0 && to.minIdle > to.poolSize:
		return errors.New("the URL's min_idle_conns is more than its pool_size")
	case strings.ContainsFunc(to.clientName, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("the URL's client_name may hold no spaces and only ASCII")
	}
	return nil
}
