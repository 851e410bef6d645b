package config

import (
	"cmp"
	"encoding"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
	"github.com/tidemark/tidemark/cmd/tidemark/internal/settings"
	"github.com/tidemark/tidemark/streams"
)

// Reference is the command config reference.
type Reference struct{}

// Run prints the reference, which is docs/configuration.md.
func (Reference) Run(std cli.Stdio, ctx *kong.Context) error {
	_, err := io.WriteString(std.Out, reference(ctx.Model))
	return err
}

// introduction is the page above its tables.
const introduction = `# Configuration

<!-- Generated from the program's flags by "go generate ./cmd/tidemark". A test fails if the page and the flags differ. -->

This page lists all settings of ` + "`tidemark serve`" + ` and the flags of the other commands. ` + "`tidemark config reference`" + ` prints it.

Each setting is a command-line flag, an environment variable and a key of a YAML file. Flags override environment
variables, which override the file, which overrides the defaults. A variable that is set to the empty string counts as
set.

Name the file with ` + "`--config FILE`" + ` or ` + "`TIDEMARK_CONFIG`" + `:

    listen: 127.0.0.1:8081
    redis: redis://127.0.0.1:6379/0
    retain:
      - chat.*=5000,7d
      - cursor.*=0

A node does not start if the file has an unknown key; the error suggests the most similar setting. For an unknown
environment variable that begins with ` + "`TIDEMARK_`" + ` the node only logs a warning, because container platforms set such
variables themselves.

Check a configuration before you use it:

    tidemark config check --config FILE

The command reads all files that the settings name. It prints each setting with the source of its value, without
passwords and secrets, and every problem that would stop the node from starting.
`

// reference returns the page of all settings.
func reference(app *kong.Application) string {
	var page strings.Builder
	page.WriteString(introduction)
	serve := commandNamed(app, "serve")
	for _, group := range settings.GroupsOf(serve) {
		fmt.Fprintf(&page, "\n## %s\n\n%s", group.Title, tableHead)
		for _, flag := range group.Flags {
			writeRow(&page, flag, "")
		}
	}
	page.WriteString("\n## Other commands\n\nThe flags of other commands are environment variables and keys too, so nodes and clients can share one environment\nor file.\n\n" + tableHead)
	for _, flag := range otherFlags(app, serve) {
		writeRow(&page, flag.Flag, "*"+strings.Join(flag.commands, ", ")+"*: ")
	}
	return page.String()
}

func commandNamed(app *kong.Application, name string) *kong.Node {
	i := slices.IndexFunc(app.Children, func(n *kong.Node) bool { return n.Name == name })
	return app.Children[i]
}

// An otherFlag is a flag that serve does not have.
type otherFlag struct {
	*kong.Flag
	commands []string // with this flag
}

// otherFlags returns the flags that serve does not have, sorted by name.
func otherFlags(app *kong.Application, serve *kong.Node) []*otherFlag {
	others := map[string]*otherFlag{}
	for _, command := range app.Leaves(true) {
		for _, flag := range command.Flags {
			if others[flag.Name] == nil {
				others[flag.Name] = &otherFlag{Flag: flag}
			}
			others[flag.Name].commands = append(others[flag.Name].commands, command.Path())
		}
	}
	for _, flag := range serve.Flags {
		delete(others, flag.Name)
	}
	return slices.SortedFunc(maps.Values(others), func(a, b *otherFlag) int { return strings.Compare(a.Name, b.Name) })
}

const tableHead = "| flag | environment | key | takes | default | |\n|---|---|---|---|---|---|\n"

// writeRow writes the row of a flag. prefix precedes its description.
func writeRow(w io.Writer, flag *kong.Flag, prefix string) {
	fmt.Fprintf(w, "| `%s` | `%s` | `%s` | %s | %s | %s%s |\n", escapeCode(synopsis(flag)), strings.Join(flag.Envs, "`, `"), flag.Name,
		takes(flag), defaultOf(flag), prefix, escapeCell(description(flag)))
}

// escapeCode escapes text that stands between backticks in a table.
func escapeCode(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// escapeCell escapes text in a table.
func escapeCell(text string) string {
	return strings.NewReplacer("|", `\|`, "*", `\*`, "<", `\<`).Replace(text)
}

// synopsis returns a flag as a command line has it.
func synopsis(flag *kong.Flag) string {
	if flag.IsBool() {
		return "--" + flag.Name
	}
	return "--" + flag.Name + " " + flag.PlaceHolder
}

// description returns the help of a flag without its default, which has its own column.
func description(flag *kong.Flag) string {
	return strings.Replace(flag.Help, " (default "+flag.Default+")", "", 1)
}

func defaultOf(flag *kong.Flag) string {
	switch {
	case flag.Default != "":
		return "`" + flag.Default + "`"
	case flag.IsBool():
		return "`false`"
	}
	return ""
}

// takes describes the values that a flag accepts.
func takes(flag *kong.Flag) string {
	t, many := flag.Target.Type(), ""
	if flag.IsSlice() {
		t, many = t.Elem(), ", repeatable"
	}
	return kindOf(flag, t) + many
}

// kinds describes the values of types.
var kinds = map[reflect.Type]string{
	reflect.TypeFor[time.Duration]():      "duration: `500ms`, `2m`",
	reflect.TypeFor[settings.Age]():       "age: `90s`, `24h`, `7d`",
	reflect.TypeFor[slog.Level]():         "`debug`, `info`, `warn`, `error`",
	reflect.TypeFor[streams.Durability](): "`logged`, `replicated`, `fsynced`",
	reflect.TypeFor[*url.URL]():           "URL",
}

func kindOf(flag *kong.Flag, t reflect.Type) string {
	if kind, ok := kinds[t]; ok {
		return kind
	}
	switch {
	case flag.Enum != "":
		return "`" + strings.Join(flag.EnumSlice(), "`, `") + "`"
	case t.Kind() == reflect.Bool:
		return "`true`, `false`"
	case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return strings.ToLower(flag.PlaceHolder) // the help describes the form
	case t.Kind() == reflect.Int:
		return "whole number"
	}
	return cmp.Or(textKinds[flag.PlaceHolder], "text")
}

// textKinds describes text values by their placeholder.
var textKinds = map[string]string{"FILE": "file", "DIR": "directory", "URL": "URL"}
