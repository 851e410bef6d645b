// Package endpoint reads the settings that say where a Redis is and how to sign in: its
// URL, password files and TLS files. It does not connect.
package endpoint

import (
	"errors"
	"time"
)

// A Topology is how a Redis is set up, and so how a client reaches it.
type Topology uint8

// The topologies.
const (
	Single   Topology = iota // one server, over TCP
	Socket                   // one server, over a Unix socket
	Sentinel                 // a primary that Sentinels name
	Cluster                  // a Redis Cluster
)

// An Endpoint is the content of a URL.
type Endpoint struct {
	Topology Topology
	TLS      bool
	Addrs    []string // host:port, or the path of the socket; of Sentinels or of some nodes of a Cluster

	User, Password                 string // of Redis
	SentinelUser, SentinelPassword string
	PrimaryName                    string // by which Sentinels know the primary
	DB                             int

	ClientName               string
	PoolSize, MinIdle        int           // connections; 0 means go-redis's default
	MaxIdleTime, MaxLifetime time.Duration // of a connection; 0 means go-redis's default
}

// Scheme returns the URL scheme of a topology ("", "+sentinel" or "+cluster"), with TLS if
// this endpoint has it.
func (e *Endpoint) Scheme(topology string) string {
	if e.TLS {
		return "rediss" + topology
	}
	return "redis" + topology
}

// ReadPasswords reads the passwords from the files. The name "" means no file.
func (e *Endpoint) ReadPasswords(passwordFile, sentinelPasswordFile string) (err error) {
	if err = readPassword(&e.Password, passwordFile, "the password"); err != nil {
		return err
	}
	if err = readPassword(&e.SentinelPassword, sentinelPasswordFile, "the Sentinels' password"); err != nil {
		return err
	}
	switch {
	case e.User != "" && e.Password == "", e.SentinelUser != "" && e.SentinelPassword == "":
		return errNoPassword
	case sentinelPasswordFile != "" && e.Topology != Sentinel:
		return errors.New("a password file for Sentinels is set, but it is only for redis+sentinel:// URLs: remove it or change the URL")
	}
	return nil
}
