package doctor

import (
	"fmt"
	"strings"

	"github.com/tidemark/tidemark/streams/redislog/internal/endpoint"
)

func checkPersistence(s *serverInfo, _ endpoint.Topology) []Finding {
	const about = "persistence"
	save, saveKnown := s.config["save"]
	fsync, fsyncKnown := s.config["appendfsync"]
	switch aof, known := s.info["aof_enabled"]; {
	case !known:
		return nil
	case aof != "1" && saveKnown && save == "":
		means := "Redis keeps nothing on disk. When it restarts, the whole log is gone."
		if len(s.replicas()) > 0 {
			means += " Its replicas then copy the empty log."
		}
		return one(Problem, about, "appendonly no, and no snapshots", means, "Set appendonly yes, and choose appendfsync.")
	case aof != "1":
		return one(Problem, about, strings.TrimSpace("appendonly no, save "+save),
			"Redis writes snapshots only. A restart loses every event acknowledged since the last snapshot. Clients get a gap notice.",
			"Set appendonly yes, and choose appendfsync.")
	case !fsyncKnown:
		return one(Note, about, "appendonly yes; appendfsync cannot be read",
			"With always, a machine failure loses no acknowledged event. With everysec, it loses those of the last one or two seconds.", "Find out which setting Redis has.")
	case s.config["no-appendfsync-on-rewrite"] == "yes":
		return one(Warning, about, "appendfsync "+fsync+", no-appendfsync-on-rewrite yes",
			"While Redis rewrites its file, it does not sync. A machine failure in that time can lose half a minute of acknowledged events.",
			"Set no-appendfsync-on-rewrite no.")
	}
	switch fsync {
	case "always":
		return one(OK, about, "appendonly yes, appendfsync always", "Every event is on disk before its publish is answered.", "")
	case "everysec":
		return one(Warning, about, "appendonly yes, appendfsync everysec",
			"A machine failure loses about one second of acknowledged events, or two if the disk is busy. A crash of Redis alone seldom loses any. Clients get a gap notice.",
			"Accept that, set appendfsync always, or ask for the durability fsynced or replicated for important events.")
	default:
		return one(Warning, about, "appendonly yes, appendfsync "+fsync,
			"The operating system decides when to write. A machine failure can lose half a minute of acknowledged events. Clients get a gap notice.",
			"Set appendfsync everysec or always.")
	}
}

// checkDisk finds a disk error that makes Redis refuse writes.
func checkDisk(s *serverInfo, _ endpoint.Topology) []Finding {
	const means, do = "Redis could not write to its disk. It refuses every publish (MISCONF) until it can.", "Read Redis's log. Free disk space, or correct the directory's permissions."
	snapshots := s.config["save"] != "" && s.config["stop-writes-on-bgsave-error"] == "yes"
	switch {
	case s.info["aof_enabled"] == "1" && s.info["aof_last_write_status"] == "err":
		return one(Problem, "disk", "aof_last_write_status err", means, do)
	case snapshots && s.info["rdb_last_bgsave_status"] == "err":
		return one(Problem, "disk", "rdb_last_bgsave_status err, stop-writes-on-bgsave-error yes", means, do)
	}
	return nil
}

func checkEviction(s *serverInfo, _ endpoint.Topology) []Finding {
	policy, known := s.info["maxmemory_policy"]
	limit, limitKnown := s.number("maxmemory")
	switch read := "maxmemory-policy " + policy; {
	case !known || !limitKnown:
		return nil
	case policy == "noeviction":
		return one(OK, "eviction", read, "", "")
	case limit == 0:
		return one(Note, "eviction", read+", without maxmemory", "The policy has no effect yet. With a maxmemory, Redis would delete rooms when its memory is full.", "Set maxmemory-policy noeviction.")
	default:
		return one(Problem, "eviction", read, "When its memory is full, Redis deletes rooms. Their events are lost, and clients get a gap notice at best.",
			"Set maxmemory-policy noeviction.")
	}
}

func checkMemory(s *serverInfo, _ endpoint.Topology) []Finding {
	const about, do = "memory", "Give Redis more memory, or keep fewer events (--retain)."
	limit, known := s.number("maxmemory")
	used, usedKnown := s.number("used_memory")
	if !known || !usedKnown {
		return nil
	}
	if limit == 0 {
		return one(Note, about, bytes(used)+" used, no maxmemory",
			"Redis can use all memory of the machine. The operating system then kills it.",
			"Set maxmemory to what the machine can spare. A full Redis then refuses publishes and continues to serve reads.")
	}
	read := fmt.Sprintf("%s of %s used (%d %%)", bytes(used), bytes(limit), used*100/limit)
	switch {
	case used >= limit:
		return one(Problem, about, read, "The memory is full. Redis refuses every publish or deletes rooms.", do)
	case used*100 >= limit*nearlyFull:
		return one(Warning, about, read, "When the memory is full, Redis refuses publishes or deletes rooms.", do)
	}
	return one(OK, about, read, "", "")
}
