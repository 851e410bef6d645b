package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
)

type versionCmd struct{}

func (versionCmd) Run(std cli.Stdio) error {
	_, err := fmt.Fprintf(std.Out, "tidemark %s\n", thisBuild())
	return err
}

// Set by the linker, with -X main.buildVersion=v1.2.3. The Makefile, the Dockerfile and
// .goreleaser.yaml set them because the Go tool finds no commit where it builds from a
// copy of the sources without their git repository.
var buildVersion, buildCommit, buildDate string

// A build says from which sources a program was built. Unknown parts are empty.
type build struct {
	version string // of the module, such as v1.2.3 or (devel)
	commit  string // its hash, with -dirty if files had changed since
	date    string // of the commit, as RFC 3339
}

// thisBuild describes the running program.
func thisBuild() build {
	linked := build{version: buildVersion, commit: buildCommit, date: buildDate}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return linked.or(build{})
	}
	return linked.or(stamped(info))
}

// stamped reads what the Go tool has written into a program.
func stamped(info *debug.BuildInfo) build {
	b := build{version: info.Main.Version}
	for _, setting := range info.Settings {
		switch setting.Key {
		case "vcs.revision":
			b.commit = setting.Value
		case "vcs.time":
			b.date = setting.Value
		}
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.modified" && setting.Value == "true" {
			b.commit += "-dirty"
		}
	}
	return b
}

// or completes b with parts of other.
func (b build) or(other build) build {
	return build{
		version: cmp.Or(b.version, other.version, "(unknown)"),
		commit:  cmp.Or(b.commit, other.commit),
		date:    cmp.Or(b.date, other.date),
	}
}

// String has the form "v1.2.3 (commit 0123456789ab, 2026-01-02T15:04:05Z, go1.26.0
// linux/amd64)", without the parts that are unknown.
func (b build) String() string {
	var parts []string
	if b.commit != "" {
		hash, dirty, _ := strings.Cut(b.commit, "-")
		parts = append(parts, strings.TrimSuffix("commit "+hash[:min(12, len(hash))]+"-"+dirty, "-"))
	}
	if b.date != "" {
		parts = append(parts, b.date)
	}
	parts = append(parts, runtime.Version()+" "+runtime.GOOS+"/"+runtime.GOARCH)
	return b.version + " (" + strings.Join(parts, ", ") + ")"
}

// version is the version of the program, for logs, traces and metrics.
func version() string { return thisBuild().version }

// buildInfo returns a metric with the versions of the program and of Go.
func buildInfo() prometheus.Collector {
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tidemark_build_info", Help: "Always 1. The labels hold the versions of Tidemark and Go.",
	}, []string{"version", "goversion"})
	info.WithLabelValues(version(), runtime.Version()).Set(1)
	return info
}
