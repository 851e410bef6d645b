package redisconn

import (
	"crypto/tls"
	"net"
	"testing"
	"time"
)

// A server that accepts connections and never answers delays an attempt by the dial limit.
func TestDialTimeout(t *testing.T) {
	const limit = 20 * time.Second
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	dial := NewDialer(10*time.Millisecond, new(tls.Config))
	done := make(chan error, 1)
	go func() {
		_, err := dial(t.Context(), "tcp", silent.Addr().String())
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil {
			t.Error("the handshake with a silent server succeeded")
		}
	case <-time.After(limit):
		t.Errorf("no error within %v", limit)
	}
}
