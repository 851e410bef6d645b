package endpoint

import (
	"net"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for url, want := range map[string]Endpoint{
		"redis://h":                {Topology: Single, Addrs: []string{"h:6379"}},
		"redis://":                 {Topology: Single, Addrs: []string{"localhost:6379"}},
		"redis://:7000/3":          {Topology: Single, Addrs: []string{"localhost:7000"}, DB: 3},
		"redis://[::1]:7000":       {Topology: Single, Addrs: []string{"[::1]:7000"}},
		"redis://[::1]":            {Topology: Single, Addrs: []string{"[::1]:6379"}},
		"rediss://:p%40:w@h?db=2":  {Topology: Single, TLS: true, Addrs: []string{"h:6379"}, Password: "p@:w", DB: 2},
		"redis://u:a@b@h":          {Topology: Single, Addrs: []string{"h:6379"}, User: "u", Password: "a@b"},
		"unix:///run/redis.sock":   {Topology: Socket, Addrs: []string{"/run/redis.sock"}},
		"unix://u:p@/r%40s?db=1":   {Topology: Socket, Addrs: []string{"/r@s"}, User: "u", Password: "p", DB: 1},
		"redis+cluster://h1,h2:70": {Topology: Cluster, Addrs: []string{"h1:6379", "h2:70"}},
		"rediss+cluster://u:p@h1:1/0?addr=h2:2&addr=h3": {Topology: Cluster, TLS: true,
			Addrs: []string{"h1:1", "h2:2", "h3:6379"}, User: "u", Password: "p"},
		"redis+sentinel://u:p@s1,s2:2/4?master_name=m&sentinel_username=su&sentinel_password=s%2Fp": {Topology: Sentinel,
			Addrs: []string{"s1:26379", "s2:2"}, PrimaryName: "m", DB: 4, User: "u", Password: "p", SentinelUser: "su", SentinelPassword: "s/p"},
		"redis://h?pool_size=7&min_idle_conns=3&conn_max_idle_time=90&conn_max_lifetime=2h&client_name=n1": {Topology: Single,
			Addrs: []string{"h:6379"}, PoolSize: 7, MinIdle: 3, MaxIdleTime: 90 * time.Second, MaxLifetime: 2 * time.Hour, ClientName: "n1"},
	} {
		if got, err := Parse(url); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("Parse(%q) =\n%+v, %v, want\n%+v", url, got, err, want)
		}
	}
}

// The error for a malformed URL names the malformed part.
func TestParseRejects(t *testing.T) {
	for url, want := range map[string]string{
		"":                                        "no URL",
		"localhost:6379":                          "scheme",
		"http://h":                                "scheme",
		"cluster+redis://h":                       "scheme",
		"redis://h:port":                          "address 1: the port",
		"redis://h:0":                             "the port",
		"redis://h:65536":                         "the port",
		"redis+cluster://h1,,h3":                  "address 2",
		"redis+cluster://h1,h2:99999":             "address 2: the port",
		"redis://a b":                             "host name",
		"redis://h:1:2":                           "host name",
		"redis://h1,h2":                           "room for one address",
		"redis://h?addr=h2":                       "room for one address",
		"redis://h/one":                           "database",
		"redis://h/1/2":                           "database",
		"redis://h?db=-1":                         "database",
		"redis+cluster://h/1":                     "database 0 only",
		"redis+sentinel://h":                      "needs the primary's name",
		"redis+sentinel://h?master_name":          "master_name: it is empty",
		"redis://h?master_name=m":                 "for redis+sentinel",
		"redis://h?sentinel_password=p":           "for redis+sentinel",
		"unix://":                                 "names no socket",
		"unix://h/s":                              "has no host",
		"redis://u:p%4@h":                         "hexadecimal",
		"redis://u:p/w@h":                         "%2F",
		"redis://u:p?w@h":                         "%3F",
		"redis://u:p#w@h":                         "%23",
		"redis://h?a=%zz":                         "parameters cannot be read",
		"redis://h?pool_size=many":                "pool_size: want a number",
		"redis://h?pool_size=1000000":             "pool_size: want a number",
		"redis://h?pool_size=1&pool_size=2":       "given twice",
		"redis://h?pool_size=1&min_idle_conns=2":  "more than its pool_size",
		"redis://h?conn_max_lifetime=-1":          "conn_max_lifetime: want a time",
		"redis://h?client_name=a+b":               "client_name",
		"redis://h?poolsize=1":                    `unknown parameter "poolsize"`,
		"redis://h?dial_timeout=1":                "dial_timeout is not supported here: time-outs",
		"rediss://h?skip_verify=true":             "always verified",
		"redis+cluster://h?route_by_latency=true": "read where it is written",
		"redis+sentinel://h?master_name=m&replica_only=1":   "read where it is written",
		"redis+sentinel://h?master_name=m&username=u":       "before the @",
		"redis+sentinel://h?master_name=m&password=hunter2": "before the @",
	} {
		if got, err := Parse(url); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q) = %+v, %v, want an error with %q", url, got, err, want)
		}
	}
}

// FuzzURL checks two properties that callers depend on. The addresses of an accepted URL
// can be dialled. No error quotes any text in front of an @, because it may be a password.
func FuzzURL(f *testing.F) {
	f.Add("redis", "user:", "", "host:6379/0")
	f.Add("rediss+cluster", ":", "%", "h1:7000,h2:7000,[::1]")
	f.Add("redis+sentinel", "h1,h2:26379?sentinel_password=", "&", "h?master_name=m")
	f.Add("unix", "", "/", "/run/redis.sock?db=1")
	f.Add("redis", "h/0#", "?pool_size=", "1")
	const secret = "hunter2SECRET"
	f.Fuzz(func(t *testing.T, scheme, before, after, rest string) {
		if strings.Contains(scheme, "://") || strings.Contains(rest, secret) {
			return
		}
		e, err := Parse(scheme + "://" + before + secret + after + "@" + rest)
		if err != nil {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the error quotes the password: %v", err)
			}
			return
		}
		if len(e.Addrs) == 0 {
			t.Fatal("no address")
		}
		for _, addr := range e.Addrs {
			if _, port, err := net.SplitHostPort(addr); e.Topology != Socket && (err != nil || port == "") {
				t.Errorf("address %q: %v", addr, err)
			}
		}
	})
}
