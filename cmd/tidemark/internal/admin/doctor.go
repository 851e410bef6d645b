package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
	"github.com/tidemark/tidemark/cmd/tidemark/internal/settings"
	"github.com/tidemark/tidemark/streams/redislog/doctor"
)

// TextWidth is the maximum width of a finding's text, in characters.
const TextWidth = 96

// Doctor is the doctor command.
type Doctor struct {
	settings.RedisFlags
	JSON bool `name:"json" help:"Print each finding as one JSON object per line."`
}

// Help returns the text of --help below the usage line.
func (Doctor) Help() string {
	return `Reads the settings of a Redis deployment and reports what can lose events or cause failures: persistence, eviction, memory, replicas and failover, buffers, clocks, permissions, and the log in it. It changes nothing. Give it the same flags as the nodes. In a cluster it checks every primary.

    tidemark doctor --redis redis://localhost:6379
    tidemark doctor --config /etc/tidemark.yaml
    tidemark doctor --redis redis+cluster://n1:6379,n2:6379 --json | jq 'select(.level == "problem")'

Exits with 1 if there is a problem: Redis loses events or refuses publishes now, or will in normal operation. A warning describes a failure that can happen later, such as a crash or a failover. A note is for information. Some checks need more permissions than a node has (docs/redis.md).`
}

// Run prints the findings.
func (c *Doctor) Run(std cli.Stdio) error {
	if c.Redis == "" {
		return cli.UsageError("--redis is missing: name the Redis to check, such as redis://127.0.0.1:6379")
	}
	settings.LogRedisTo(slog.New(slog.DiscardHandler)) // the findings report the consequences
	ctx, stop := cli.SignalContext()
	defer stop()
	report, err := c.examine(ctx)
	if err != nil {
		return err
	}
	if err := printReport(cli.NewPrinter(std, c.JSON), report); err != nil {
		return err
	}
	if n := report.Count(doctor.Problem); n > 0 {
		return errors.New(cli.Plural(n, "problem") + " found")
	}
	return nil
}

func (c *Doctor) examine(ctx context.Context) (doctor.Report, error) {
	opt := c.Options()
	opt.Logger = slog.New(slog.DiscardHandler)
	return doctor.Examine(ctx, opt)
}

func printReport(p *cli.Printer, report doctor.Report) error {
	for _, f := range report.Findings {
		if err := printFinding(p, f); err != nil {
			return err
		}
	}
	if p.JSON {
		return nil
	}
	_, err := fmt.Fprintf(p.Out, "%s, %s, %s, %d ok\n", cli.Plural(report.Count(doctor.Problem), "problem"),
		cli.Plural(report.Count(doctor.Warning), "warning"), cli.Plural(report.Count(doctor.Note), "note"), report.Count(doctor.OK))
	return err
}

// levelColors are ANSI codes.
var levelColors = map[doctor.Level]string{doctor.Problem: "31", doctor.Warning: "33", doctor.Note: "36", doctor.OK: "32"}

func printFinding(p *cli.Printer, f doctor.Finding) error {
	if p.JSON {
		return p.Object(f)
	}
	server := ""
	if f.Server != "" {
		server = " of " + f.Server
	}
	text := p.Paint(levelColors[f.Level], fmt.Sprintf("%-8s", f.Level)) + f.About + server + ": " + f.Read
	if f.Level == doctor.OK { // one line each
		_, err := fmt.Fprintln(p.Out, strings.TrimSuffix(text+". "+f.Means, ". "))
		return err
	}
	_, err := fmt.Fprintln(p.Out, text+"\n"+indent(f.Means)+indent(f.Do))
	return err
}

// indent breaks text into indented lines of at most TextWidth. It returns "" for "".
func indent(text string) string {
	const margin = "        " // as wide as a level
	var b strings.Builder
	line := margin
	for _, word := range strings.Fields(text) {
		if line != margin && len(line)+len(word) > TextWidth {
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
