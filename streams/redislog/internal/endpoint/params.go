package endpoint

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// maxPool bounds the numbers of connections in a URL, to catch typing errors.
const maxPool = 10_000

// params are the accepted parameters, with the names by which go-redis knows them.
var params = map[string]string{
	"db": "db", "master_name": "master_name", "client_name": "client_name",
	"sentinel_username": "username", "sentinel_password": "password",
	"pool_size": "pool_size", "min_idle_conns": "min_idle_conns",
	"conn_max_idle_time": "conn_max_idle_time", "conn_max_lifetime": "conn_max_lifetime",
}

// rejected are parameters of go-redis that would break a promise of the log, with the
// advice for each.
var rejected = map[string]string{
	"username":         "the user goes before the @, and a Sentinel's into sentinel_username",
	"password":         "the password goes before the @, and a Sentinel's into sentinel_password",
	"dial_timeout":     "time-outs have options of their own",
	"read_timeout":     "time-outs have options of their own",
	"write_timeout":    "time-outs have options of their own",
	"pool_timeout":     "time-outs have options of their own",
	"skip_verify":      "a certificate is always verified: name the file with the authority that signed it",
	"read_only":        "the log is read where it is written",
	"replica_only":     "the log is read where it is written",
	"route_by_latency": "the log is read where it is written",
	"route_randomly":   "the log is read where it is written",
	"max_retries":      "the client never repeats an append by itself",
}

// parseParams adds the addresses among the parameters to e, and returns the others with
// go-redis's names. Errors do not quote values, because one may be a password.
func (e *Endpoint) parseParams(query string) (url.Values, error) {
	given, err := url.ParseQuery(query)
	if err != nil {
		return nil, errors.New("the URL's parameters cannot be read: write name=value&name=value")
	}
	accepted := url.Values{}
	for _, name := range slices.Sorted(maps.Keys(given)) { // the same error each time
		values := given[name]
		switch advice, isRejected := rejected[name]; {
		case isRejected:
			return nil, fmt.Errorf("the URL's parameter %s is not supported here: %s", name, advice)
		case name != "addr" && params[name] == "":
			return nil, fmt.Errorf("the URL has an unknown parameter %q", name)
		case slices.Contains(values, ""):
			return nil, fmt.Errorf("the URL's parameter %s: it is empty", name)
		case name != "addr" && len(values) > 1:
			return nil, fmt.Errorf("the URL's parameter %s is given twice", name)
		case name != "addr":
			accepted[params[name]] = values
			continue
		}
		for _, addr := range values {
			if err := e.addAddr(addr); err != nil {
				return nil, fmt.Errorf("the URL's parameter addr: %w", err)
			}
		}
	}
	return accepted, nil
}

var (
	errDB       = errors.New("the URL's database is not a number")
	invalidPart = regexp.MustCompile(`^redis: invalid (\w+) (number|duration)`)
)

// parseError replaces an error of go-redis, which may quote the URL.
func parseError(err error) error {
	switch found := invalidPart.FindStringSubmatch(err.Error()); {
	case found != nil && found[1] == "database":
		return errDB
	case found != nil && found[2] == "number":
		return numberError(found[1])
	case found != nil:
		return durationError(found[1])
	}
	return errors.New("the URL cannot be read: docs/redis.md has examples")
}

func numberError(param string) error {
	return fmt.Errorf("the URL's parameter %s: want a number from 1 to %d", param, maxPool)
}

func durationError(param string) error {
	return fmt.Errorf("the URL's parameter %s: want a time such as 5m or 90s", param)
}

// checkNumbers checks the ranges of numbers and durations. A parameter that is not given is 0.
func (e *Endpoint) checkNumbers(given url.Values) error {
	switch badSize := func(n int, param string) bool { return given.Has(param) && (n < 1 || n > maxPool) }; {
	case e.DB < 0:
		return errDB
	case badSize(e.PoolSize, "pool_size"):
		return numberError("pool_size")
	case badSize(e.MinIdle, "min_idle_conns"):
		return numberError("min_idle_conns")
	case e.MaxIdleTime < 0:
		return durationError("conn_max_idle_time")
	case e.MaxLifetime < 0:
		return durationError("conn_max_lifetime")
	}
	return nil
}

// check checks that the parts go together.
func (e *Endpoint) check() error {
	switch several := e.Topology == Sentinel || e.Topology == Cluster; {
	case len(e.Addrs) > 1 && !several:
		return errors.New("this URL has room for one address: for several, start it with redis+cluster:// or redis+sentinel://")
	case e.Topology == Sentinel && e.PrimaryName == "":
		return errors.New("the URL of a Sentinel needs the primary's name: redis+sentinel://host:26379/0?master_name=mymaster")
	case e.Topology != Sentinel && (e.PrimaryName != "" || e.SentinelUser != "" || e.SentinelPassword != ""):
		return errors.New("master_name and the Sentinels' user and password are for redis+sentinel://")
	case e.Topology == Cluster && e.DB != 0:
		return errors.New("a Cluster has database 0 only: remove the database from the URL")
	case e.PoolSize > 0 && e.MinIdle > e.PoolSize:
		return errors.New("the URL's min_idle_conns is more than its pool_size")
	case strings.ContainsFunc(e.ClientName, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("the URL's client_name must be ASCII without spaces")
	}
	return nil
}
