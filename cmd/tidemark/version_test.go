package main

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestBuild(t *testing.T) {
	platform := runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH + ")"
	const commit, date = "0123456789abcdef0123456789abcdef01234567", "2026-01-02T15:04:05Z"
	settings := func(modified string) []debug.BuildSetting {
		return []debug.BuildSetting{
			{Key: "vcs.modified", Value: modified}, {Key: "vcs.revision", Value: commit}, {Key: "vcs.time", Value: date},
		}
	}
	for name, c := range map[string]struct {
		linked build
		info   debug.BuildInfo
		want   string
	}{
		"stamped by the Go tool": {
			info: debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}, Settings: settings("false")},
			want: "v1.2.3 (commit 0123456789ab, 2026-01-02T15:04:05Z, " + platform,
		},
		"with changes": {
			info: debug.BuildInfo{Main: debug.Module{Version: "v1.2.3+dirty"}, Settings: settings("true")},
			want: "v1.2.3+dirty (commit 0123456789ab-dirty, 2026-01-02T15:04:05Z, " + platform,
		},
		"from an archive": {
			info: debug.BuildInfo{Main: debug.Module{Version: "(devel)"}},
			want: "(devel) (" + platform,
		},
		"set by the linker": {
			linked: build{version: "v1.2.3", commit: commit, date: date},
			info:   debug.BuildInfo{Main: debug.Module{Version: "(devel)"}},
			want:   "v1.2.3 (commit 0123456789ab, 2026-01-02T15:04:05Z, " + platform,
		},
		"a short commit": {
			linked: build{commit: "01234-dirty"},
			want:   "(unknown) (commit 01234-dirty, " + platform,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.linked.or(stamped(&c.info)).String(); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}
