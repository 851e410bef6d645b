package system

// A Redis is a redis-server process that a system keeps its events in.
type Redis struct {
	addr string
}

// Addr is its address, host:port.
func (r *Redis) Addr() string { return r.addr }
