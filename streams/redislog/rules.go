package redislog

import (
	"fmt"
	"strings"
	"time"
)

const (
	// maxLag is how many seconds a replica may be silent: it reports every second.
	maxLag = 10

	// full is the share of a limit from which on it is told of, in percent.
	full = 80

	// smallBacklog is what Redis has by default, in bytes: 1,000 events of 1 KiB.
	smallBacklog = 1 << 20

	// smallBuffer is what a node should be able to fall behind by, in bytes: a
	// hundred of the largest events. Redis's default is 32 MiB.
	smallBuffer = 8 << 20

	// maxSkew is how far clocks may differ before times are wrong for people.
	maxSkew = time.Second
)

// serverRules are the checks of one server, each by what it says of itself alone.
var serverRules = []func(*facts, shape) []Finding{
	ruleReadable, ruleVersion, ruleRole, rulePersistence, ruleWrites, ruleEviction, ruleMemory,
	ruleReplicas, ruleMinReplicas, ruleBacklog, ruleBuffers, ruleConnections, ruleClock,
}

func one(l Level, about, read, means, do string) []Finding {
	return []Finding{{Level: l, About: about, Read: read, Means: means, Do: do}}
}

// ruleReadable tells what could not be asked, which the other rules leave out.
func ruleReadable(f *facts, _ shape) []Finding {
	var all []Finding
	for _, q := range []struct {
		err            error
		command, about string
	}{
		{f.infoErr, "INFO", "version, memory, persistence and replicas"},
		{f.configErr, "CONFIG GET", strings.Join(settingsRead, ", ")},
	} {
		if q.err != nil {
			all = append(all, one(Note, "what can be read", fmt.Sprintf("%s: %v", q.command, q.err),
				"It cannot be read: "+q.about+". Nothing below says anything about these.",
				"Look in the service's own console, or run doctor as a user who may do this (docs/redis.md).")...)
		}
	}
	return all
}

func ruleVersion(f *facts, _ shape) []Finding {
	read := "Redis " + f.info["redis_version"]
	if ok, known := f.since(7, 0); !known {
		return nil
	} else if !ok {
		return one(Problem, "version", read, "It has no sharded pub/sub: Tidemark does not start on it.", "Upgrade to 7.0 or newer.")
	}
	if ok, _ := f.since(7, 2); !ok {
		return one(Note, "version", read, "It has no WAITAOF: the durability fsynced cannot be given.", "Upgrade to 7.2 or newer if you want that.")
	}
	return one(OK, "version", read, "", "")
}

func ruleRole(f *facts, _ shape) []Finding {
	switch {
	case f.info["role"] == "slave":
		return one(Problem, "role", "a replica of "+f.info["master_host"]+":"+f.info["master_port"],
			"A replica takes no writes: every publish is refused.", "Name the master in the URL, or use redis+sentinel://, which finds it.")
	case f.info["loading"] == "1":
		return one(Warning, "role", "it is loading its data", "It answers nothing until it is done; nodes wait.", "Ask again later.")
	}
	return nil
}

func rulePersistence(f *facts, _ shape) []Finding {
	const about = "persistence"
	save, saveKnown := f.config["save"]
	fsync, fsyncKnown := f.config["appendfsync"]
	switch aof, known := f.info["aof_enabled"]; {
	case !known:
		return nil
	case aof != "1" && saveKnown && save == "":
		means := "Nothing is kept on disk: when Redis restarts, the whole log is gone."
		if len(f.followers()) > 0 {
			means += " Its replicas then copy the empty log."
		}
		return one(Problem, about, "appendonly no, and no snapshots", means, "Set appendonly yes, and choose appendfsync.")
	case aof != "1":
		return one(Problem, about, strings.TrimSpace("appendonly no, save "+save),
			"There are snapshots only: a restart loses every event acknowledged since the last one. Readers are told.",
			"Set appendonly yes, and choose appendfsync.")
	case !fsyncKnown:
		return one(Note, about, "appendonly yes; appendfsync cannot be read",
			"With always, no acknowledged event is lost when the machine fails; with everysec, the last one or two seconds are.", "Find out which it is.")
	case f.config["no-appendfsync-on-rewrite"] == "yes":
		return one(Warning, about, "appendfsync "+fsync+", no-appendfsync-on-rewrite yes",
			"While Redis rewrites its file nothing is synced: when the machine fails then, half a minute of acknowledged events can be lost.",
			"Set no-appendfsync-on-rewrite no.")
	}
	switch fsync {
	case "always":
		return one(OK, about, "appendonly yes, appendfsync always", "Every event is on disk before its publish is answered.", "")
	case "everysec":
		return one(Warning, about, "appendonly yes, appendfsync everysec",
			"When the machine fails, up to about a second of acknowledged events is lost (two, if its disk is busy). A crash of Redis alone seldom loses any. Readers are told.",
			"Accept that; or set appendfsync always; or ask for the durability fsynced or replicated where it matters.")
	default:
		return one(Warning, about, "appendonly yes, appendfsync "+fsync,
			"The system decides when to write: when the machine fails, half a minute of acknowledged events can be lost. Readers are told.",
			"Set appendfsync everysec or always.")
	}
}

// ruleWrites looks for a disk that makes Redis refuse writes.
func ruleWrites(f *facts, _ shape) []Finding {
	const means, do = "Redis could not write to its disk, and refuses every publish (MISCONF) until it can.", "Look into Redis's log; make room on the disk or put its rights in order."
	snapshots := f.config["save"] != "" && f.config["stop-writes-on-bgsave-error"] == "yes"
	switch {
	case f.info["aof_enabled"] == "1" && f.info["aof_last_write_status"] == "err":
		return one(Problem, "disk", "aof_last_write_status err", means, do)
	case snapshots && f.info["rdb_last_bgsave_status"] == "err":
		return one(Problem, "disk", "rdb_last_bgsave_status err, stop-writes-on-bgsave-error yes", means, do)
	}
	return nil
}

func ruleEviction(f *facts, _ shape) []Finding {
	policy, known := f.info["maxmemory_policy"]
	limit, limitKnown := f.number("maxmemory")
	switch read := "maxmemory-policy " + policy; {
	case !known || !limitKnown:
		return nil
	case policy == "noeviction":
		return one(OK, "eviction", read, "", "")
	case limit == 0:
		return one(Note, "eviction", read+", without maxmemory", "It has no effect yet; with a maxmemory Redis would delete rooms to make room.", "Set maxmemory-policy noeviction.")
	default:
		return one(Problem, "eviction", read, "When its memory is full, Redis deletes rooms to make room: their events are lost, and readers told of a gap at best.",
			"Set maxmemory-policy noeviction.")
	}
}

func ruleMemory(f *facts, _ shape) []Finding {
	const about = "memory"
	limit, known := f.number("maxmemory")
	used, usedKnown := f.number("used_memory")
	if !known || !usedKnown {
		return nil
	}
	if limit == 0 {
		return one(Note, about, size(used)+" used, no maxmemory",
			"Redis takes what the machine has, and is ended by the system when that is used up.",
			"Set maxmemory to what the machine can spare: publishes are then refused when it is full, and all else goes on.")
	}
	read := fmt.Sprintf("%s of %s used (%d %%)", size(used), size(limit), used*100/limit)
	switch {
	case used >= limit:
		return one(Problem, about, read, "It is full: every publish is refused, or rooms are deleted.", "Give it more memory, or keep less (--retain).")
	case used*100 >= limit*full:
		return one(Warning, about, read, "When it is full, publishes are refused, or rooms are deleted.", "Give it more memory, or keep less (--retain).")
	}
	return one(OK, about, read, "", "")
}

func ruleReplicas(f *facts, s shape) []Finding {
	const about = "replicas"
	if f.info["role"] != "master" {
		return nil
	}
	all := f.followers()
	if len(all) == 0 {
		level := Note
		if s == sentinel || s == cluster {
			level = Warning
		}
		return one(level, about, "none", "When this server is down so is its part of the log; when its disk is lost, its events are.",
			"Give it a replica on another machine, with Sentinel or in a Cluster to take over.")
	}
	var findings []Finding
	for _, r := range all {
		switch {
		case !r.online:
			findings = append(findings, one(Warning, about, r.addr+" is copying", "It cannot take over until it has everything.", "If this lasts, look into its log.")...)
		case r.lag > maxLag:
			findings = append(findings, one(Warning, about, fmt.Sprintf("%s was last heard of %d s ago", r.addr, r.lag),
				"What it lacks is lost if it has to take over.", "Look at it, and at the network between the two.")...)
		}
	}
	if findings == nil {
		return one(OK, about, fmt.Sprintf("%d in step", len(all)), "", "")
	}
	return findings
}

func ruleMinReplicas(f *facts, _ shape) []Finding {
	const about = "failover"
	want, known := f.setting("min-replicas-to-write")
	if f.info["role"] != "master" || !known {
		return nil
	}
	read := fmt.Sprintf("min-replicas-to-write %d", want)
	switch good, counted := f.number("min_slaves_good_slaves"); {
	case want == 0 && len(f.followers()) == 0:
		return nil
	case want == 0:
		return one(Warning, about, read,
			"A failover loses the acknowledged events that the new master does not have yet; a master that is cut off goes on taking publishes which are lost. Readers are told.",
			"Set min-replicas-to-write 1 and min-replicas-max-lag 10; or ask for the durability replicated.")
	case counted && good < want:
		return one(Problem, about, fmt.Sprintf("%s, and %d in step", read, good), "Redis refuses every publish (NOREPLICAS).", "Bring its replicas back.")
	}
	return one(OK, about, read, "A master without replicas takes no publishes: a failover loses little.", "")
}

func ruleBacklog(f *facts, _ shape) []Finding {
	n, known := f.number("repl_backlog_size")
	if !known || len(f.followers()) == 0 {
		return nil
	}
	if n <= smallBacklog {
		return one(Note, "replication backlog", "repl-backlog-size "+size(n),
			"A replica that misses more than that has to copy everything anew, and cannot take over meanwhile.", "Set repl-backlog-size 64mb or more.")
	}
	return one(OK, "replication backlog", "repl-backlog-size "+size(n), "", "")
}

func ruleBuffers(f *facts, _ shape) []Finding {
	const about = "output buffers"
	hard, soft, known := f.pubsubLimits()
	read := fmt.Sprintf("client-output-buffer-limit pubsub %s, %s", size(hard), size(soft))
	switch {
	case !known:
		return nil
	case hard == 0:
		return one(Note, about, read, "What a node that stops reading is owed fills Redis's memory, without a limit.",
			"Set client-output-buffer-limit pubsub 64mb 32mb 60.")
	case hard < smallBuffer, soft > 0 && soft < smallBuffer/8:
		return one(Warning, about, read, "A node that falls behind for a moment is cut off. It comes back and reads from the log what it missed, which is slower.",
			"Set client-output-buffer-limit pubsub 64mb 32mb 60.")
	}
	return one(OK, about, read, "", "")
}

// pubsubLimits finds "pubsub hard soft seconds" in the setting.
func (f *facts) pubsubLimits() (hard, soft int64, known bool) {
	_, after, found := strings.Cut(" "+f.config["client-output-buffer-limit"], " pubsub ")
	n, _ := fmt.Sscanf(after, "%d %d", &hard, &soft)
	return hard, soft, found && n == 2
}

func ruleConnections(f *facts, _ shape) []Finding {
	const about = "connections"
	var all []Finding
	clients, known := f.number("connected_clients")
	most, mostKnown := f.number("maxclients")
	if known && mostKnown && clients*100 >= most*full {
		all = append(all, one(Warning, about, fmt.Sprintf("%d of maxclients %d", clients, most),
			"When there are no more to be had, nodes cannot come back after an interruption.", "Raise maxclients, or find out whose they are.")...)
	}
	if s, known := f.setting("timeout"); known && s > 0 && s < 60 {
		all = append(all, one(Note, about, fmt.Sprintf("timeout %d", s),
			"Redis closes connections that were idle for so long: nodes open them again, with a handshake each.", "Set timeout 0; tcp-keepalive finds the dead.")...)
	}
	if s, known := f.setting("tcp-keepalive"); known && s == 0 {
		all = append(all, one(Note, about, "tcp-keepalive 0", "Connections of nodes that vanished stay open, with what they are owed.", "Set tcp-keepalive 300.")...)
	}
	if all == nil && known {
		return one(OK, about, fmt.Sprintf("%d of %d", clients, most), "", "")
	}
	return all
}

func ruleClock(f *facts, _ shape) []Finding {
	if f.clockErr != nil {
		return nil
	}
	off := f.ahead.Abs()
	if off <= maxSkew+f.slack {
		return one(OK, "clock", "the same as this machine's, within "+(off+f.slack+time.Millisecond).Round(time.Millisecond).String(), "", "")
	}
	way := "ahead of"
	if f.ahead < 0 {
		way = "behind"
	}
	return one(Warning, "clock", fmt.Sprintf("%v %s this machine's", off.Round(time.Millisecond), way),
		"Events carry Redis's time: where one follows since a time, and how old events are, is off by as much for everybody else.",
		"Run NTP on both.")
}

// size writes bytes as redis.conf does.
func size(n int64) string {
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
