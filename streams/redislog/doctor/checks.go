package doctor

import (
	"fmt"
	"strings"
	"time"

	"github.com/tidemark/tidemark/streams/redislog/internal/endpoint"
)

const (
	// nearlyFull is the share of a limit that leads to a warning, in percent.
	nearlyFull = 80

	// smallBacklog is Redis's default backlog in bytes: 1,000 events of 1 KiB.
	smallBacklog = 1 << 20

	// smallBuffer is the lag in bytes that a node should survive: 128 of the largest
	// events. Redis's default is 32 MiB.
	smallBuffer = 8 << 20

	// maxSkew is the difference between clocks that people do not notice.
	maxSkew = time.Second
)

// A serverCheck examines the information about one server.
type serverCheck func(*serverInfo, endpoint.Topology) []Finding

var serverChecks = []serverCheck{
	checkReadable, checkVersion, checkRole, checkPersistence, checkDisk, checkEviction, checkMemory,
	checkReplicas, checkMinReplicas, checkBacklog, checkBuffers, checkConnections, checkClock,
}

func one(l Level, about, read, means, do string) []Finding {
	return []Finding{{Level: l, About: about, Read: read, Means: means, Do: do}}
}

// checkReadable reports the commands that Redis refused. The other checks skip missing
// values.
func checkReadable(s *serverInfo, _ endpoint.Topology) []Finding {
	var all []Finding
	for _, q := range []struct {
		err            error
		command, about string
	}{
		{s.infoErr, "INFO", "version, memory, persistence and replicas"},
		{s.configErr, "CONFIG GET", strings.Join(settingNames, ", ")},
	} {
		if q.err != nil {
			all = append(all, one(Note, "what can be read", fmt.Sprintf("%s: %v", q.command, q.err),
				"The doctor cannot read "+q.about+". This report has no findings about them.",
				"Look them up in the service's own console, or run doctor as a user with these permissions (docs/redis.md).")...)
		}
	}
	return all
}

func checkVersion(s *serverInfo, _ endpoint.Topology) []Finding {
	read := "Redis " + s.info["redis_version"]
	if ok, known := s.atLeast(7, 0); !known {
		return nil
	} else if !ok {
		return one(Problem, "version", read, "It has no sharded pub/sub. Tidemark does not start on it.", "Upgrade to 7.0 or newer.")
	}
	if ok, _ := s.atLeast(7, 2); !ok {
		return one(Note, "version", read, "It has no WAITAOF, so it cannot give the durability fsynced.", "Upgrade to 7.2 or newer if you want that durability.")
	}
	return one(OK, "version", read, "", "")
}

func checkRole(s *serverInfo, _ endpoint.Topology) []Finding {
	switch {
	case s.info["role"] == "slave":
		return one(Problem, "role", "a replica of "+s.info["master_host"]+":"+s.info["master_port"],
			"A replica accepts no writes, so every publish is refused.", "Put the primary into the URL, or use redis+sentinel://, which finds it.")
	case s.info["loading"] == "1":
		return one(Warning, "role", "it is loading its data", "Redis answers nothing until it has loaded its data. Nodes wait.", "Run doctor again later.")
	}
	return nil
}

func checkConnections(s *serverInfo, _ endpoint.Topology) []Finding {
	const about = "connections"
	var all []Finding
	clients, known := s.number("connected_clients")
	most, mostKnown := s.number("maxclients")
	if known && mostKnown && clients*100 >= most*nearlyFull {
		all = append(all, one(Warning, about, fmt.Sprintf("%d of maxclients %d", clients, most),
			"At the limit, nodes cannot reconnect after an interruption.", "Raise maxclients, or find out which clients hold the connections.")...)
	}
	if t, known := s.setting("timeout"); known && t > 0 && t < 60 {
		all = append(all, one(Note, about, fmt.Sprintf("timeout %d", t),
			"Redis closes connections that are idle for this many seconds. Nodes open new ones, each with a handshake.", "Set timeout 0. tcp-keepalive finds dead connections.")...)
	}
	if k, known := s.setting("tcp-keepalive"); known && k == 0 {
		all = append(all, one(Note, about, "tcp-keepalive 0", "Connections of nodes that have vanished stay open, together with their output buffers.", "Set tcp-keepalive 300.")...)
	}
	if all == nil && known {
		return one(OK, about, fmt.Sprintf("%d of %d", clients, most), "", "")
	}
	return all
}

func checkBuffers(s *serverInfo, _ endpoint.Topology) []Finding {
	const about = "output buffers"
	hard, soft, known := s.pubsubLimits()
	read := fmt.Sprintf("client-output-buffer-limit pubsub %s, %s", bytes(hard), bytes(soft))
	switch {
	case !known:
		return nil
	case hard == 0:
		return one(Note, about, read, "If a node stops reading, its unsent events fill Redis's memory without a limit.",
			"Set client-output-buffer-limit pubsub 64mb 32mb 60.")
	case hard < smallBuffer, soft > 0 && soft < smallBuffer/8:
		return one(Warning, about, read, "Redis disconnects a node that falls behind for a moment. The node reconnects and reads the missed events from the log, which is slower.",
			"Set client-output-buffer-limit pubsub 64mb 32mb 60.")
	}
	return one(OK, about, read, "", "")
}

func checkClock(s *serverInfo, _ endpoint.Topology) []Finding {
	if s.clockErr != nil {
		return nil
	}
	off := s.ahead.Abs()
	if off <= maxSkew+s.slack {
		return one(OK, "clock", "the same as this machine's, within "+(off+s.slack+time.Millisecond).Round(time.Millisecond).String(), "", "")
	}
	way := "ahead of"
	if s.ahead < 0 {
		way = "behind"
	}
	return one(Warning, "clock", fmt.Sprintf("%v %s this machine's", off.Round(time.Millisecond), way),
		"Events carry Redis's time. For clients, the age of events and the start of a replay from a given time are wrong by this difference.",
		"Run NTP on both machines.")
}

// bytes formats a number of bytes as redis.conf does.
func bytes(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1fgb", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1fmb", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1fkb", float64(n)/(1<<10))
	}
	return fmt.Sprint(n)
}
