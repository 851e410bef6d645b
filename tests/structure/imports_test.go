package structure

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// layers lists the directories of the module from top to bottom. A package imports
// packages of lower layers and of its own directory, never of its own layer or above.
var layers = [][]string{
	{"cmd", "examples", "tidemarktest"},
	{"api"},
	{"presence", "consumers", "webhooks"},
	{"service"},
	{"replay"},
	{"access", "limits", "cluster", "client"},
	{"streams"},
	{"internal"},
}

// tools lists directories that no package outside of them imports. They import what
// they like.
var tools = []string{"tests", "scripts"}

// forbidden lists imports that the layers would allow. A path that ends in "/..."
// stands for the packages below it.
var forbidden = []struct{ from, to string }{
	// The parts of api do not know the router that puts them together, and a
	// transport does not know the other one.
	{"api/internal/...", "api"},
	{"api/internal/problem", "api/internal/..."},
	{"api/internal/clientip", "api/internal/..."},
	{"api/internal/conn", "api/internal/sse"},
	{"api/internal/conn", "api/internal/ws"},
	{"api/internal/sse", "api/internal/ws"},
	{"api/internal/ws", "api/internal/sse"},

	// Only the program chooses between the logs. Everything else takes a streams.Log.
	{"api", "streams/..."},
	{"api/...", "streams/..."},
	{"presence", "streams/..."},
	{"consumers", "streams/..."},
	{"webhooks", "streams/..."},
	{"service", "streams/..."},
	{"replay", "streams/..."},
	{"streams", "streams/..."},
	{"streams/redislog", "streams/redislog/doctor"},
	{"streams/redislog/internal/...", "streams/redislog"},
	{"streams/redislog/internal/...", "streams/redislog/doctor"},
	{"streams/redislog", "streams/embedded"},
	{"streams/embedded", "streams/redislog"},
}

// Imports point down the layers.
func TestImports(t *testing.T) {
	imports := map[string][]string{}
	for _, pkg := range modulePackages(t) {
		path := short(pkg.PkgPath)
		imports[path] = nil
		for _, imported := range pkg.Imports {
			if strings.HasPrefix(imported.PkgPath, module) {
				imports[path] = append(imports[path], short(imported.PkgPath))
			}
		}
	}
	for _, problem := range wrongImports(imports) {
		t.Error(problem)
	}
}

// wrongImports checks a graph of imports against layers, tools and forbidden, and
// returns one sentence for each problem.
func wrongImports(imports map[string][]string) (problems []string) {
	for _, from := range slices.Sorted(maps.Keys(imports)) {
		if !isTool(from) && layer(from) < 0 {
			problems = append(problems, from+" has no layer: add its directory to layers in tests/structure/imports_test.go")
			continue
		}
		for _, to := range slices.Sorted(slices.Values(imports[from])) {
			if reason := wrongImport(from, to); reason != "" {
				problems = append(problems, fmt.Sprintf("%s imports %s: %s", from, to, reason))
			}
		}
	}
	return problems
}

// wrongImport returns the reason why from must not import to, or "".
func wrongImport(from, to string) string {
	for _, f := range forbidden {
		if matches(f.from, from) && matches(f.to, to) && from != to {
			return "this import is forbidden"
		}
	}
	switch {
	case isTool(from), directory(from) == directory(to):
		return ""
	case isTool(to):
		return "only tests and scripts import tests and scripts"
	case layer(from) >= layer(to):
		return "imports go from higher layers to lower ones"
	}
	return ""
}

// layer is the index of the layer of a package, or -1.
func layer(pkg string) int {
	return slices.IndexFunc(layers, func(l []string) bool { return slices.Contains(l, directory(pkg)) })
}

func isTool(pkg string) bool { return slices.Contains(tools, directory(pkg)) }

// directory is the first element of a package's path.
func directory(pkg string) string {
	first, _, _ := strings.Cut(pkg, "/")
	return first
}

// matches reports whether pkg is the package that pattern names, or below it where
// pattern ends in "/...".
func matches(pattern, pkg string) bool {
	if parent, ok := strings.CutSuffix(pattern, "..."); ok {
		return strings.HasPrefix(pkg, parent)
	}
	return pattern == pkg
}

func TestWrongImports(t *testing.T) {
	for name, c := range map[string]struct {
		from, to string
		want     string // part of the problem; "" means that the import is allowed
	}{
		"down":                           {"api", "service", ""},
		"down several layers":            {"cmd/tidemark", "streams/redislog", ""},
		"within a directory":             {"streams/redislog", "streams", ""},
		"up":                             {"service", "api", "from higher layers to lower"},
		"up, from a subdirectory":        {"streams/redislog", "limits", "from higher layers to lower"},
		"sideways":                       {"presence", "consumers", "from higher layers to lower"},
		"access knows streams only":      {"access", "replay", "from higher layers to lower"},
		"access and streams":             {"access", "streams", ""},
		"nothing imports the program":    {"api", "cmd/tidemark", "from higher layers to lower"},
		"tests import everything":        {"tests/scenarios", "api", ""},
		"nothing imports tests":          {"api", "tests/redistest", "only tests"},
		"tests import tests":             {"tests/scenarios", "tests/redistest", ""},
		"api and its parts":              {"api", "api/internal/sse", ""},
		"a part and api":                 {"api/internal/sse", "api", "forbidden"},
		"one transport and the other":    {"api/internal/sse", "api/internal/ws", "forbidden"},
		"a transport and connections":    {"api/internal/sse", "api/internal/conn", ""},
		"connections and a transport":    {"api/internal/conn", "api/internal/ws", "forbidden"},
		"problem is a leaf":              {"api/internal/problem", "api/internal/conn", "forbidden"},
		"problem knows lower layers":     {"api/internal/problem", "streams", ""},
		"service and a kind of log":      {"service", "streams/redislog", "forbidden"},
		"one kind of log and the other":  {"streams/embedded", "streams/redislog", "forbidden"},
		"the log and its doctor":         {"streams/redislog", "streams/redislog/doctor", "forbidden"},
		"the doctor and its log":         {"streams/redislog/doctor", "streams/redislog", ""},
		"the log and its parts":          {"streams/redislog", "streams/redislog/internal/keys", ""},
		"a part and its log":             {"streams/redislog/internal/keys", "streams/redislog", "forbidden"},
		"the interface and a kind of it": {"streams", "streams/embedded", "forbidden"},
		"an unknown directory":           {"util", "streams", "has no layer"},
	} {
		t.Run(name, func(t *testing.T) {
			problems := strings.Join(wrongImports(map[string][]string{c.from: {c.to}}), "\n")
			if c.want == "" && problems != "" || !strings.Contains(problems, c.want) {
				t.Errorf("%s imports %s: problems %q, want %q", c.from, c.to, problems, c.want)
			}
		})
	}
}
