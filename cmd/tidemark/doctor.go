package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/tidemark/tidemark/streams/redislog/doctor"
)

// textWidth is how wide a finding is written, in characters.
const textWidth = 96

type doctorCmd struct {
	redisFlags
	JSON bool `name:"json" help:"One JSON object on a line, for each finding."`
}

func (doctorCmd) Help() string {
	return `Reads the settings of a Redis, changes nothing, and says in plain words what can be lost and what will hurt: persistence, eviction, memory, replicas and failover, buffers, clocks, permissions, and the log that is in it. Give it the flags that the nodes have. Of a cluster it looks at every master.

    tidemark doctor --redis redis://localhost:6379
    tidemark doctor --config /etc/tidemark.yaml
    tidemark doctor --redis redis+cluster://n1:6379,n2:6379 --json | jq 'select(.level == "problem")'

Exits with 1 if there is a problem: events are being lost or publishes refused, or will be in ordinary running. Warnings are about cases that come some day; notes are worth knowing. Some answers need more rights than a node does (docs/redis.md).`
}

func (c *doctorCmd) Run(std stdio) error {
	if c.Redis == "" {
		return usageError("--redis: say which Redis to look at")
	}
	redis.SetLogger(redisLogger{slog.New(slog.DiscardHandler)}) // what comes of it is in the findings
	ctx, stop := interruptible()
	defer stop()
	report, err := c.examine(ctx)
	if err != nil {
		return err
	}
	if err := c.print(newPrinter(std, c.JSON), report); err != nil {
		return err
	}
	if n := report.Count(doctor.Problem); n > 0 {
		return errors.New(plural(n, "problem"))
	}
	return nil
}

func (c *doctorCmd) examine(ctx context.Context) (doctor.Report, error) {
	opt := c.options()
	opt.Logger = slog.New(slog.DiscardHandler)
	return doctor.Examine(ctx, opt)
}

func (c *doctorCmd) print(p *printer, report doctor.Report) error {
	for _, f := range report.Findings {
		if err := p.finding(f); err != nil {
			return err
		}
	}
	if p.json {
		return nil
	}
	_, err := fmt.Fprintf(p.out, "%s, %s, %s, %d ok\n", plural(report.Count(doctor.Problem), "problem"),
		plural(report.Count(doctor.Warning), "warning"), plural(report.Count(doctor.Note), "note"), report.Count(doctor.OK))
	return err
}

// colours are ANSI codes, one for each level that deserves one.
var colours = map[doctor.Level]string{doctor.Problem: "31", doctor.Warning: "33", doctor.Note: "36", doctor.OK: "32"}

func (p *printer) finding(f doctor.Finding) error {
	if p.json {
		return p.line(f)
	}
	where := ""
	if f.Server != "" {
		where = " of " + f.Server
	}
	text := p.paint(colours[f.Level], fmt.Sprintf("%-8s", f.Level)) + f.About + where + ": " + f.Read
	if f.Level == doctor.OK { // a list, to glance over
		_, err := fmt.Fprintln(p.out, strings.TrimSuffix(text+". "+f.Means, ". "))
		return err
	}
	_, err := fmt.Fprintln(p.out, text+"\n"+indent(f.Means)+indent(f.Do))
	return err
}

// indent breaks text into lines of at most textWidth that stand under a finding's
// subject; "" has none.
func indent(text string) string {
	const margin = "        "
	var b strings.Builder
	line := margin
	for _, word := range strings.Fields(text) {
		if line != margin && len(line)+len(word) > textWidth {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = margin
		}
		line += word + " "
	}
	if line != margin {
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}
