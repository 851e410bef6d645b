package require

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// NetworkNamespace skips the test if it cannot start a process in a network namespace of
// its own. Root can, and so can other users if the system allows user namespaces.
//
// A test that runs itself again inside a namespace must call this outside, because
// the result of the outer test is the one that counts.
func NetworkNamespace(t testing.TB) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^$")
	cmd.SysProcAttr = newNetwork()
	if err := cmd.Run(); err != nil {
		t.Log(err)
		Unmet(t, "network namespaces", "run the tests as root, or allow user namespaces (sysctl kernel.unprivileged_userns_clone=1)")
	}
}

// newNetwork returns attributes for a process in a network namespace of its own, and in
// a user namespace where this process is not root.
func newNetwork() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Geteuid() != 0 {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}}
	}
	return attr
}
