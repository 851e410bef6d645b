package redistest

import (
	"testing"
)

func TestSentinelFailover(t *testing.T) {
	s := StartSentinel(t, nil)
	old := s.Primary()
	promoted, err := s.Failover(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if promoted == old || promoted != s.Primary() || s.Replicas()[0] != old {
		t.Errorf("%s was promoted, primary is %s, was %s", promoted.Addr(), s.Primary().Addr(), old.Addr())
	}
}

func TestSentinelReplacesAKilledPrimary(t *testing.T) {
	s := StartSentinel(t, nil)
	old := s.Kill()
	promoted, err := s.Promoted(t.Context(), old)
	if err != nil {
		t.Fatal(err)
	}
	old.Restart()
	if err := s.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.Primary() != promoted {
		t.Errorf("primary is %s, want %s", s.Primary().Addr(), promoted.Addr())
	}
}
