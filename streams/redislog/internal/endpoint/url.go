package endpoint

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// schemes are the URL schemes of the topologies.
var schemes = map[string]Endpoint{
	"redis":           {Topology: Single},
	"rediss":          {Topology: Single, TLS: true},
	"unix":            {Topology: Socket},
	"redis+sentinel":  {Topology: Sentinel},
	"rediss+sentinel": {Topology: Sentinel, TLS: true},
	"redis+cluster":   {Topology: Cluster},
	"rediss+cluster":  {Topology: Cluster, TLS: true},
}

// Errors about URLs never quote a part that may belong to a password. In a URL that cannot
// be read, the position of the password is unknown.
var (
	errNoURL  = errors.New("no URL is given: set one such as redis://host:6379")
	errScheme = errors.New("the URL's scheme must be redis, rediss, unix, redis+sentinel, rediss+sentinel, redis+cluster or rediss+cluster")
	errEscape = errors.New("the URL has a # or an @ after its addresses: in a user name, password or path, " +
		"write the characters / ? # @ : % as %2F %3F %23 %40 %3A %25")
	errUserinfo   = errors.New("the URL's user or password has a % without two hexadecimal digits after it: write %25")
	errPath       = errors.New("the socket's path has a % without two hexadecimal digits after it: write %25")
	errNoPassword = errors.New("the URL has a user and no password: write user:password@, or give the password in a file")
)

// Parse reads a URL of one of the forms that redislog.Options lists.
//
// go-redis parses all parts that it can express. Tidemark reads the addresses itself,
// because go-redis takes only one in front of the path.
func Parse(s string) (Endpoint, error) {
	if s == "" {
		return Endpoint{}, errNoURL
	}
	scheme, rest, ok := strings.Cut(s, "://")
	e, known := schemes[scheme]
	if !ok || !known {
		return Endpoint{}, errScheme
	}
	rest, query, _ := strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	if strings.Contains(s, "#") || strings.Contains(path, "@") || strings.Contains(query, "@") {
		return Endpoint{}, errEscape
	}
	var user *url.Userinfo
	hosts := authority
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		var err error
		if user, err = parseUser(authority[:at]); err != nil {
			return Endpoint{}, err
		}
		hosts = authority[at+1:]
	}
	if err := e.setAddrs(hosts, path); err != nil {
		return Endpoint{}, err
	}
	if e.Topology == Socket {
		path = ""
	}
	params, err := e.parseParams(query)
	if err != nil {
		return Endpoint{}, err
	}
	if err := e.setOptions(&url.URL{Scheme: "redis", User: user, Path: "/" + path, RawQuery: params.Encode()}, params); err != nil {
		return Endpoint{}, err
	}
	return e, e.check()
}

func parseUser(userinfo string) (*url.Userinfo, error) {
	user, password, _ := strings.Cut(userinfo, ":")
	user, err := url.PathUnescape(user)
	password, err2 := url.PathUnescape(password)
	if err != nil || err2 != nil {
		return nil, errUserinfo
	}
	return url.UserPassword(user, password), nil
}

// setAddrs sets the addresses. It also checks the path, which is a database or a socket.
func (e *Endpoint) setAddrs(hosts, path string) error {
	if e.Topology == Socket {
		return e.setSocket(hosts, path)
	}
	if hosts == "" {
		hosts = "localhost"
	}
	if _, err := strconv.Atoi(path); path != "" && err != nil {
		return errDB
	}
	for i, addr := range strings.Split(hosts, ",") {
		if err := e.addAddr(addr); err != nil {
			return fmt.Errorf("the URL's address %d: %w", i+1, err)
		}
	}
	return nil
}

func (e *Endpoint) setSocket(hosts, path string) error {
	name, err := url.PathUnescape("/" + path)
	switch {
	case hosts != "":
		return errors.New("the URL of a socket has no host: write unix:///path/to/redis.sock")
	case err != nil:
		return errPath
	case path == "":
		return errors.New("the URL names no socket: write unix:///path/to/redis.sock")
	}
	e.Addrs = []string{name}
	return nil
}

// addAddr adds host:port, or host with the usual port.
func (e *Endpoint) addAddr(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil { // without a port, or not an address, which the host's check finds
		host, port = strings.TrimSuffix(strings.TrimPrefix(addr, "["), "]"), "6379"
		if e.Topology == Sentinel {
			port = "26379"
		}
	}
	if host == "" && err == nil {
		host = "localhost"
	}
	if !validHost(host) {
		return errors.New("not a host name or an IP address (write an IPv6 address in brackets)")
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return errors.New("the port is not a number from 1 to 65535")
	}
	e.Addrs = append(e.Addrs, net.JoinHostPort(host, port))
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

// setOptions has go-redis parse u, whose addresses are in e already. ParseFailoverURL
// accepts the parameters of all topologies. It takes the user before the @ for the
// Sentinels' user and the parameter username for Redis's; for Tidemark it is the other way
// round.
func (e *Endpoint) setOptions(u *url.URL, given url.Values) error {
	o, err := redis.ParseFailoverURL(u.String())
	if err != nil {
		return parseError(err)
	}
	e.User, e.Password, e.SentinelUser, e.SentinelPassword = o.SentinelUsername, o.SentinelPassword, o.Username, o.Password
	e.PrimaryName, e.DB, e.ClientName = o.MasterName, o.DB, o.ClientName
	e.PoolSize, e.MinIdle, e.MaxIdleTime, e.MaxLifetime = o.PoolSize, o.MinIdleConns, o.ConnMaxIdleTime, o.ConnMaxLifetime
	return e.checkNumbers(given)
}
