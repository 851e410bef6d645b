package doctor

import (
	"fmt"

	"github.com/tidemark/tidemark/streams/redislog/internal/endpoint"
)

func checkReplicas(s *serverInfo, topology endpoint.Topology) []Finding {
	const about = "replicas"
	if s.info["role"] != "master" {
		return nil
	}
	all := s.replicas()
	if len(all) == 0 {
		level := Note
		if topology == endpoint.Sentinel || topology == endpoint.Cluster {
			level = Warning
		}
		return one(level, about, "none", "While this server is down, its part of the log is unavailable. If its disk is lost, its events are lost.",
			"Give it a replica on another machine, and failover by Sentinel or a Cluster.")
	}
	var findings []Finding
	for _, r := range all {
		switch {
		case !r.online:
			findings = append(findings, one(Warning, about, r.addr+" is copying", "It cannot take over until it has copied everything.", "If this lasts, read its log.")...)
		case r.lag > maxLag:
			findings = append(findings, one(Warning, about, fmt.Sprintf("%s was last heard of %d s ago", r.addr, r.lag),
				"If it has to take over, the events that it has not received are lost.", "Check it, and the network between the two servers.")...)
		}
	}
	if findings == nil {
		return one(OK, about, fmt.Sprintf("%d in step", len(all)), "", "")
	}
	return findings
}

func checkMinReplicas(s *serverInfo, _ endpoint.Topology) []Finding {
	const about = "failover"
	want, known := s.setting("min-replicas-to-write")
	if s.info["role"] != "master" || !known {
		return nil
	}
	read := fmt.Sprintf("min-replicas-to-write %d", want)
	switch good, counted := s.number("min_slaves_good_slaves"); {
	case want == 0 && len(s.replicas()) == 0:
		return nil
	case want == 0:
		return one(Warning, about, read,
			"A failover loses acknowledged events that the new primary has not received. A primary that is cut off from the others still accepts publishes, and these are lost too. Clients get a gap notice.",
			"Set min-replicas-to-write 1 and min-replicas-max-lag 10, or ask for the durability replicated.")
	case counted && good < want:
		return one(Problem, about, fmt.Sprintf("%s, and %d in step", read, good), "Redis refuses every publish (NOREPLICAS).", "Start its replicas again.")
	}
	return one(OK, about, read, "A primary without replicas accepts no publishes, so a failover loses little.", "")
}

func checkBacklog(s *serverInfo, _ endpoint.Topology) []Finding {
	n, known := s.number("repl_backlog_size")
	if !known || len(s.replicas()) == 0 {
		return nil
	}
	if n <= smallBacklog {
		return one(Note, "replication backlog", "repl-backlog-size "+bytes(n),
			"A replica that misses more than this has to copy everything again. It cannot take over in that time.", "Set repl-backlog-size 64mb or more.")
	}
	return one(OK, "replication backlog", "repl-backlog-size "+bytes(n), "", "")
}
