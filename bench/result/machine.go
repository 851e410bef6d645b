package result

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
)

// A Machine describes where a run was measured.
type Machine struct {
	CPU    string `json:"cpu"`    // model name
	Cores  int    `json:"cores"`  // available to this process
	Memory int64  `json:"memory"` // bytes
	Kernel string `json:"kernel"` // release
	System string `json:"system"` // name of the distribution
}

// ThisMachine reads /proc. A value that cannot be read stays empty, because the results
// are useful without it.
func ThisMachine() Machine {
	kilobytes, _ := strconv.ParseInt(strings.TrimSuffix(field("/proc/meminfo", "MemTotal", ":"), " kB"), 10, 64)
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	return Machine{
		CPU:    field("/proc/cpuinfo", "model name", ":"),
		Cores:  runtime.NumCPU(),
		Memory: kilobytes << 10,
		Kernel: strings.TrimSpace(string(kernel)),
		System: strings.Trim(field("/etc/os-release", "PRETTY_NAME", "="), `"`),
	}
}

// field returns the value of the first line whose name before the separator is name.
func field(path, name, separator string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		key, value, _ := strings.Cut(lines.Text(), separator)
		if strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func (m Machine) String() string {
	return fmt.Sprintf("%s, %d cores, %.1f GiB of memory, %s, Linux %s", m.CPU, m.Cores, float64(m.Memory)/(1<<30), m.System, m.Kernel)
}
