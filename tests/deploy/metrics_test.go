package deploy

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/tidemark/tidemark/tests/program"
	"github.com/tidemark/tidemark/tests/redistest"
	"github.com/tidemark/tidemark/tests/require"
)

// A shown holds the values of each label of one metric.
type shown map[string]map[string]bool

// An exposition is a node's metrics by the names that PromQL uses.
type exposition map[string]shown

// exposed returns the metrics of a node on the embedded log and of one on Redis, after some
// use.
func exposed(t *testing.T) (onDisk, inRedis exposition) {
	t.Helper()
	disk := tidemark.Serve(t, program.Options{Dir: t.TempDir()})
	redis := tidemark.Serve(t, program.Options{}, "--redis", redistest.Start(t).URL())
	return scrape(t, disk), scrape(t, redis)
}

// scrape publishes an event through a node, and returns the node's metrics.
func scrape(t *testing.T, s *program.Server) exposition {
	t.Helper()
	res, err := http.Post(s.URL()+"/v1/rooms/lobby/events", "application/json", strings.NewReader(`{"data":1}`))
	must(t, err)
	res.Body.Close()
	res, err = http.Get(s.URL() + "/metrics")
	must(t, err)
	defer res.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(res.Body)
	must(t, err)
	e := exposition{}
	for _, f := range families {
		e.add(f)
	}
	return e
}

func (e exposition) add(f *dto.MetricFamily) {
	labels := shown{}
	for _, m := range f.Metric {
		for _, l := range m.Label {
			if labels[l.GetName()] == nil {
				labels[l.GetName()] = map[string]bool{}
			}
			labels[l.GetName()][l.GetValue()] = true
		}
	}
	name := f.GetName()
	e[name] = labels
	if f.GetType() == dto.MetricType_HISTOGRAM {
		e[name+"_sum"], e[name+"_count"] = labels, labels
		bucket := maps.Clone(labels)
		bucket["le"] = nil // any
		e[name+"_bucket"] = bucket
		delete(e, name) // not a series
	}
}

// families returns e's own metrics in the form of docs/metrics.md, without the parts of
// histograms.
func (e exposition) families() []string {
	var names []string
	for name, labels := range e {
		base, part := strings.CutSuffix(name, "_bucket")
		if !strings.HasPrefix(name, "tidemark_") || strings.HasSuffix(name, "_sum") || strings.HasSuffix(name, "_count") {
			continue
		}
		keys := slices.Sorted(maps.Keys(labels))
		if part {
			keys = slices.DeleteFunc(keys, func(k string) bool { return k == "le" })
		}
		names = append(names, written(base, keys))
	}
	slices.Sort(names)
	return names
}

func written(name string, labels []string) string {
	if len(labels) == 0 {
		return name
	}
	slices.Sort(labels)
	return name + "{" + strings.Join(labels, ",") + "}"
}

// listed returns the metrics of the tables in text.
func listed(text string) []string {
	var names []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(tidemark_[a-z_]+)(?:\\{([a-z,]+)\\})?`").FindAllStringSubmatch(text, -1) {
		var labels []string
		if m[2] != "" {
			labels = strings.Split(m[2], ",")
		}
		names = append(names, written(m[1], labels))
	}
	slices.Sort(names)
	return names
}

// docs/metrics.md lists exactly the metrics that a node has, with their labels.
func TestDocumentHasEveryMetric(t *testing.T) {
	both, more, found := strings.Cut(read(t, "docs/metrics.md"), "With the log in Redis there are also")
	if !found {
		t.Fatal("docs/metrics.md does not tell what there is with Redis alone")
	}
	more, _, found = strings.Cut(more, "With `--tls-cert` there is also") // TestTLS of cmd/tidemark checks these
	if !found {
		t.Fatal("docs/metrics.md does not tell what there is with TLS alone")
	}
	onDisk, inRedis := exposed(t)
	if got, want := onDisk.families(), listed(both); !slices.Equal(got, want) {
		t.Errorf("a node on the embedded log shows\n%s\nthe page has\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	want := append(listed(both), listed(more)...)
	slices.Sort(want)
	if got := inRedis.families(); !slices.Equal(got, want) {
		t.Errorf("a node on Redis shows\n%s\nthe page has\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A rule is an alert.
type rule struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

func alerts(t *testing.T) []rule {
	t.Helper()
	var file struct{ Groups []struct{ Rules []rule } }
	must(t, yaml.Unmarshal([]byte(read(t, "deploy/prometheus/alerts.yml")), &file))
	var all []rule
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 10 {
		t.Fatalf("only %d alerts were found", len(all))
	}
	return all
}

// A panel is one panel of the dashboard.
type panel struct {
	Title   string
	Targets []struct{ Expr, LegendFormat string }
}

func dashboard(t *testing.T) []panel {
	t.Helper()
	var file struct{ Panels []panel }
	must(t, json.Unmarshal([]byte(read(t, "deploy/grafana/tidemark.json")), &file))
	if len(file.Panels) < 20 {
		t.Fatalf("only %d panels were found", len(file.Panels))
	}
	return file.Panels
}

// The alerts and the dashboard use existing metrics, labels and values.
func TestAlertsAndDashboardUseExistingMetrics(t *testing.T) {
	_, e := exposed(t)
	for _, r := range alerts(t) {
		for _, fault := range e.faults(r.Expr) {
			t.Errorf("alert %s: %s", r.Alert, fault)
		}
	}
	for _, p := range dashboard(t) {
		for _, target := range p.Targets {
			legend := regexp.MustCompile(`\{\{(\w+)\}\}`).ReplaceAllString(target.LegendFormat, " by ($1) ")
			for _, fault := range e.faults(target.Expr + legend) {
				t.Errorf("panel %q: %s", p.Title, fault)
			}
		}
	}
}

// faults itself is tested with expressions in which it must find an error.
func TestFaultsAreFound(t *testing.T) {
	e := exposition{"tidemark_x_total": shown{"result": {"good": true}}}
	for expr, want := range map[string]int{
		`rate(tidemark_x_total[5m])`: 0,
		`sum by (instance, result) (rate(tidemark_x_total{result="good"}[5m]))`: 0,
		`rate(tidemark_y_total[5m])`:           1,
		`sum by (colour) (tidemark_x_total)`:   1,
		`tidemark_x_total{colour="red"}`:       1,
		`tidemark_x_total{result=~"good|bad"}`: 1,
		`go_nothing + process_nothing`:         2,
	} {
		if got := e.faults(expr); len(got) != want {
			t.Errorf("%s: %q, want %d faults", expr, got, want)
		}
	}
}

var (
	series   = regexp.MustCompile(`\b((?:tidemark|go|process)_\w+)(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"`)
	grouping = regexp.MustCompile(`\b(?:by|without|on|ignoring)\s*\(([^)]*)\)`)
)

// faults returns the metrics, labels and values in an expression that do not exist. promtool
// checks the syntax.
func (e exposition) faults(expr string) (faults []string) {
	known := map[string]bool{"instance": true, "job": true} // Prometheus's own
	for _, s := range series.FindAllStringSubmatch(expr, -1) {
		labels, ok := e[s[1]]
		if !ok {
			faults = append(faults, fmt.Sprintf("no node shows %s", s[1]))
			continue
		}
		for name := range labels {
			known[name] = true
		}
		for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
			if m[1] != "instance" && m[1] != "job" {
				faults = append(faults, labels.lacks(s[1], m[1], m[3])...)
			}
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		for name := range strings.SplitSeq(g[1], ",") {
			if name = strings.TrimSpace(name); !known[name] {
				faults = append(faults, fmt.Sprintf("nothing in it has a label %q", name))
			}
		}
	}
	return faults
}

// lacks returns those of the values, separated by "|", that a label does not have.
func (labels shown) lacks(metric, label, values string) (faults []string) {
	have, ok := labels[label]
	if !ok {
		return []string{fmt.Sprintf("%s has no label %q", metric, label)}
	}
	for value := range strings.SplitSeq(values, "|") {
		if !have[value] {
			faults = append(faults, fmt.Sprintf("%s has no %s=%q", metric, label, value))
		}
	}
	return faults
}

// Each alert has a severity, a description, and a link to its row in docs/operations.md.
func TestAlertsHaveRows(t *testing.T) {
	page := read(t, "docs/operations.md")
	const runbook = "https://github.com/tidemark/tidemark/blob/main/docs/operations.md#"
	for _, r := range alerts(t) {
		anchor := strings.ToLower(regexp.MustCompile(`([a-z])([A-Z])`).ReplaceAllString(r.Alert, "$1-$2"))
		if r.Annotations["runbook_url"] != runbook+anchor {
			t.Errorf("%s: runbook %s, want %s", r.Alert, r.Annotations["runbook_url"], runbook+anchor)
		}
		if !strings.Contains(page, fmt.Sprintf("| <a id=%q></a>`%s` |", anchor, r.Alert)) {
			t.Errorf("docs/operations.md has no row for %s", r.Alert)
		}
		if s := r.Labels["severity"]; s != "critical" && s != "warning" || r.Annotations["summary"] == "" {
			t.Errorf("%s: severity %q, summary %q", r.Alert, s, r.Annotations["summary"])
		}
	}
}

// promtool runs Debian's promtool in the directory of dir.
func promtool(t *testing.T, dir string, args ...string) {
	t.Helper()
	require.Program(t, "promtool")
	cmd := exec.CommandContext(t.Context(), "promtool", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// Prometheus accepts the alerts, the configuration, and each expression of the dashboard.
func TestPrometheusAcceptsFiles(t *testing.T) {
	promtool(t, project("deploy/prometheus"), "check", "rules", "alerts.yml")
	promtool(t, project("deploy/prometheus"), "check", "config", "prometheus.yml")

	var rules []map[string]string
	for _, p := range dashboard(t) {
		for _, target := range p.Targets {
			expr := strings.NewReplacer("$__rate_interval", "5m", "$job", "tidemark", "$instance", ".*").Replace(target.Expr)
			rules = append(rules, map[string]string{"record": fmt.Sprintf("panel:%d", len(rules)), "expr": expr})
		}
	}
	text, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboard", "rules": rules}}})
	must(t, err)
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "dashboard.yml"), text, 0o600))
	promtool(t, dir, "check", "rules", "dashboard.yml")
}

// The alerts fire exactly in the cases of testdata/alerts_test.yml.
func TestAlertsFire(t *testing.T) { promtool(t, "testdata", "test", "rules", "alerts_test.yml") }
