package doctor

import (
	"testing"

	"github.com/tidemark/tidemark/streams/redislog/internal/endpoint"
)

// The checks by themselves, for servers that this machine cannot run.
func TestChecks(t *testing.T) {
	for name, c := range map[string]struct {
		info        map[string]string
		config      map[string]string
		level       Level
		about, read string
	}{
		"Redis 6":                 {map[string]string{"redis_version": "6.2.14"}, nil, Problem, "version", "6.2.14"},
		"Redis 7.2":               {map[string]string{"redis_version": "7.2.0"}, nil, OK, "version", "7.2.0"},
		"Redis 8":                 {map[string]string{"redis_version": "8.0.1"}, nil, OK, "version", "8.0.1"},
		"loading":                 {map[string]string{"role": "master", "loading": "1"}, nil, Warning, "role", "loading"},
		"append-only file broken": {map[string]string{"aof_enabled": "1", "aof_last_write_status": "err"}, nil, Problem, "disk", "aof_last_write_status"},
		"replica that copies": {map[string]string{"role": "master", "slave0": "ip=10.0.0.1,port=6379,state=wait_bgsave,offset=0,lag=0"}, nil,
			Warning, "replicas", "10.0.0.1:6379 is copying"},
		"replica that is silent": {map[string]string{"role": "master", "slave0": "ip=::1,port=6379,state=online,offset=0,lag=60"}, nil,
			Warning, "replicas", "[::1]:6379 was last heard of 60 s ago"},
	} {
		s := &serverInfo{info: c.info, config: c.config}
		var report Report
		for _, check := range serverChecks {
			report.Findings = append(report.Findings, check(s, endpoint.Single)...)
		}
		if !report.has(c.level, c.about, c.read) {
			t.Errorf("%s: want %s %s with %q, have%s", name, c.level, c.about, c.read, report)
		}
	}
}

// Missing and malformed information does not make a check panic.
func TestChecksOnMissingInfo(t *testing.T) {
	for _, info := range []map[string]string{nil, {"redis_version": "?", "role": "master", "maxmemory": "x", "slave0": ""}} {
		for _, check := range serverChecks {
			check(&serverInfo{info: info}, endpoint.Cluster)
		}
	}
}
