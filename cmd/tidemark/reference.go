package main

//go:generate sh -c "go run . config reference >../../docs/configuration.md"

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

	"github.com/tidemark/tidemark/streams"
)

type referenceCmd struct{}

func (referenceCmd) Run(std stdio, ctx *kong.Context) error {
	_, err := io.WriteString(std.out, reference(ctx.Model))
	return err
}

// referenceHead is the page before its tables.
const referenceHead = `# Configuration

<!-- Written by "go generate ./cmd/tidemark" from the flags of the program. A test fails when it is not what they say. -->

All settings of ` + "`tidemark serve`" + `, as ` + "`tidemark config reference`" + ` prints them. Each is a flag, a variable of the environment
and a key of the YAML file that ` + "`--config FILE`" + ` or ` + "`TIDEMARK_CONFIG`" + ` names. Flags win over the environment, the
environment over the file, the file over the defaults; a variable that is set to nothing is set.

    listen: 127.0.0.1:8081
    redis: redis://127.0.0.1:6379/0
    retain:
      - chat.*=5000,7d
      - cursor.*=0

A key that is no setting is refused, with the nearest that is one. A variable that begins with TIDEMARK_ and is no setting is
warned of: containers get some from their surroundings.

    tidemark config check --config FILE

says whether a node would start with all of that, reads the files that are named, and prints each setting with where it comes
from. It leaves passwords and secrets out.
`

// reference writes the page of all settings.
func reference(app *kong.Application) string {
	var page strings.Builder
	page.WriteString(referenceHead)
	serve := commandNamed(app, "serve")
	for _, group := range groupsOf(serve) {
		fmt.Fprintf(&page, "\n## %s\n\n%s", group.title, tableHead)
		for _, flag := range group.flags {
			writeRow(&page, flag, "")
		}
	}
	page.WriteString("\n## Other commands\n\nTheir flags are variables and keys too: one environment or file may serve a node and those who talk to it.\n\n" + tableHead)
	for _, flag := range otherFlags(app, serve) {
		writeRow(&page, flag.Flag, "*"+strings.Join(flag.commands, ", ")+"*: ")
	}
	return page.String()
}

func commandNamed(app *kong.Application, name string) *kong.Node {
	i := slices.IndexFunc(app.Children, func(n *kong.Node) bool { return n.Name == name })
	return app.Children[i]
}

// A flagGroup is what --help shows under one heading.
type flagGroup struct {
	title string // "The node" for the flags of no group
	flags []*kong.Flag
}

// groupsOf returns the flags of a command itself in the order of --help.
func groupsOf(command *kong.Node) []*flagGroup {
	groups := []*flagGroup{{title: "The node"}}
	for _, flag := range command.Flags {
		title := groups[0].title
		if flag.Group != nil {
			title = strings.TrimSuffix(flag.Group.Title, ":")
		}
		i := slices.IndexFunc(groups, func(g *flagGroup) bool { return g.title == title })
		if i < 0 {
			i = len(groups)
			groups = append(groups, &flagGroup{title: title})
		}
		groups[i].flags = append(groups[i].flags, flag)
	}
	return groups
}

// An otherFlag is one that serve does not have, with the commands that do.
type otherFlag struct {
	*kong.Flag
	commands []string
}

// otherFlags returns them by name.
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

// writeRow writes a flag's row; of is what stands before the words about it.
func writeRow(w io.Writer, flag *kong.Flag, of string) {
	fmt.Fprintf(w, "| `%s` | `%s` | `%s` | %s | %s | %s%s |\n", code(synopsis(flag)), strings.Join(flag.Envs, "`, `"), flag.Name,
		takes(flag), defaultOf(flag), of, cell(purpose(flag)))
}

// code is text as it stands between backticks in a table.
func code(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// cell is text as a cell of a table takes it.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "*", `\*`, "<", `\<`).Replace(text)
}

// synopsis is a flag as it stands on a command line.
func synopsis(flag *kong.Flag) string {
	if flag.IsBool() {
		return "--" + flag.Name
	}
	return "--" + flag.Name + " " + flag.PlaceHolder
}

// purpose is a flag's help without the default, which has a column of its own.
func purpose(flag *kong.Flag) string {
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

// takes says what a flag's values are.
func takes(flag *kong.Flag) string {
	t, many := flag.Target.Type(), ""
	if flag.IsSlice() {
		t, many = t.Elem(), ", repeatable"
	}
	return kindOf(flag, t) + many
}

// kinds are what types of values are called.
var kinds = map[reflect.Type]string{
	reflect.TypeFor[time.Duration]():      "duration: `500ms`, `2m`",
	reflect.TypeFor[age]():                "age: `90s`, `24h`, `7d`",
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
		return strings.ToLower(flag.PlaceHolder) // a form of its own, which the help describes
	case t.Kind() == reflect.Int:
		return "whole number"
	}
	return cmp.Or(textKinds[flag.PlaceHolder], "text")
}

// textKinds are what texts are called by what stands for them.
var textKinds = map[string]string{"FILE": "file", "DIR": "directory", "URL": "URL"}
