package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
)

type versionCmd struct{}

func (versionCmd) Run(std cli.Stdio) error {
	_, err := fmt.Fprintf(std.Out, "tidemark %s (%s %s/%s)\n", version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

// version is what the Go tool wrote into the program: the module's version, or
// one made of the commit's time and hash.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(unknown)"
	}
	return info.Main.Version
}

// buildInfo is a metric that says how the program was built.
func buildInfo() prometheus.Collector {
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tidemark_build_info", Help: "1, with the program's version and that of Go.",
	}, []string{"version", "goversion"})
	info.WithLabelValues(version(), runtime.Version()).Set(1)
	return info
}
