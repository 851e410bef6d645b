package main

import (
	"encoding"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"
)

// configCmd groups what is about a node's configuration.
type configCmd struct {
	Check     checkCmd     `cmd:"" help:"Say whether a node would start, and with which settings."`
	Reference referenceCmd `cmd:"" help:"Print all settings, as Markdown."`
}

// checkCmd takes the flags of serve, for what it says has to be about the same command
// line.
type checkCmd struct {
	serveCmd
}

func (checkCmd) Help() string {
	return `Reads the flags, the environment and the file that 'tidemark serve' would read, and the secrets, keys and certificates that they name. Prints each setting with where its value comes from, passwords and secrets left out, and everything that would keep a node from starting.

It starts nothing, and asks neither the network nor the log: 'tidemark doctor' does that for Redis.

    tidemark config check --config /etc/tidemark/tidemark.yaml

Exits with 0 if a node would start, else with 2.`
}

func (c *checkCmd) Run(std stdio, ctx *kong.Context, all *cli) error {
	if err := printSettings(std.out, ctx, all.Config); err != nil {
		return err
	}
	for _, note := range c.notes(ctx.Model) {
		fmt.Fprintln(std.err, "tidemark: warning:", note)
	}
	found := c.problems()
	if len(found) == 0 {
		_, err := fmt.Fprintln(std.out, "\nok: a node would start with this")
		return err
	}
	for _, problem := range found {
		fmt.Fprintln(std.err, "tidemark: error:", withoutSecrets(problem))
	}
	return usageError("a node would not start with this")
}

// notes are about what starts, and may still not be meant.
func (c *checkCmd) notes(app *kong.Application) []string {
	notes := strangeVariables(app, os.Environ())
	for _, given := range []struct{ flag, file string }{{"tls-cert", c.TLSCert}, {"redis-ca", c.RedisCA}, {"redis-cert", c.RedisCert}} {
		notes = append(notes, certificateNotes(given.flag, given.file, time.Now())...)
	}
	return notes
}

// printSettings writes what each flag of the selected command came to.
func printSettings(w io.Writer, ctx *kong.Context, file configFile) error {
	origins, err := originsOf(ctx, string(file))
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, group := range groupsOf(ctx.Selected()) {
		if i > 0 {
			fmt.Fprintln(table, "\t\t")
		}
		for _, flag := range group.flags {
			fmt.Fprintf(table, "%s\t%s\t%s\n", flag.Name, shown(flag), origins.of(flag))
		}
	}
	return table.Flush()
}

// origins say where the values of flags come from.
type origins struct {
	given map[*kong.Flag]bool // on the command line
	file  *fileValues         // nil where none is named
}

func originsOf(ctx *kong.Context, file string) (*origins, error) {
	o := &origins{given: map[*kong.Flag]bool{}}
	for _, p := range ctx.Path {
		if p.Flag != nil && !p.Resolved {
			o.given[p.Flag] = true
		}
	}
	if file == "" {
		return o, nil
	}
	values, err := readConfig(file)
	if err != nil {
		return nil, err
	}
	o.file = &fileValues{name: file, values: values}
	return o, nil
}

// of goes by the order of precedence.
func (o *origins) of(flag *kong.Flag) string {
	if o.given[flag] {
		return "command line"
	}
	if i := slices.IndexFunc(flag.Envs, isSet); i >= 0 {
		return "$" + flag.Envs[i]
	}
	if o.file != nil {
		if node, ok := o.file.values[flag.Name]; ok {
			return fmt.Sprintf("%s:%d", o.file.name, node.Line)
		}
	}
	return "default"
}

// secretTag marks a flag whose value is a secret as a whole.
const secretTag = "secret"

// shown is a flag's value as it may be printed.
func shown(flag *kong.Flag) string {
	text := settingText(flag.Target)
	switch {
	case text == "" || flag.Target.IsZero() && !flag.HasDefault && !flag.IsBool():
		return "-"
	case flag.Tag.Has(secretTag):
		return "(not shown)"
	case flag.PlaceHolder == "URL":
		return maskURL(text)
	}
	return maskSecrets(text)
}

// What has the secrets of a URL, also of one that is not as it should be: that lacks a
// slash or its scheme, or has blanks in its password.
var (
	beforeHost = regexp.MustCompile(`^(\w[\w+]*:/+)?.*@`)
	secretOf   = regexp.MustCompile(`(?i)([?&][^=&]*(?:password|secret|token|key)[^=&]*=)[^&]*`)
)

// maskURL masks more than maskSecrets can in a text where other words stand.
func maskURL(text string) string {
	text = beforeHost.ReplaceAllString(text, "$1…@")
	return secretOf.ReplaceAllString(text, "$1…")
}

// settingText writes a value as a flag would take it.
func settingText(v reflect.Value) string {
	if v.Kind() == reflect.Slice && v.Type().Name() == "" {
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = settingText(v.Index(i))
		}
		return strings.Join(parts, "; ")
	}
	if v.Kind() == reflect.Pointer && v.IsNil() {
		return ""
	}
	switch value := v.Interface().(type) {
	case fmt.Stringer:
		return value.String()
	case encoding.TextMarshaler:
		text, err := value.MarshalText()
		if err == nil {
			return string(text)
		}
	}
	return fmt.Sprint(v.Interface())
}

// serviceLink is a variable that Kubernetes and Docker set for a service of that name:
// for one called tidemark, TIDEMARK_PORT and TIDEMARK_SERVICE_HOST.
var serviceLink = regexp.MustCompile(`_(SERVICE_(HOST|PORT\w*)|PORT(_\d+_(TCP|UDP|SCTP)\w*)?)$`)

// strangeVariables tells of variables of the environment, "NAME=value", that begin as
// settings do and are none. They don't keep a node from starting: not all of them are
// the operator's own.
func strangeVariables(app *kong.Application, environ []string) []string {
	known := flagVariables(app)
	var found []string
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, envPrefix+"_") || slices.Contains(known, name) || serviceLink.MatchString(name) {
			continue
		}
		found = append(found, fmt.Sprintf("the environment has %s, which is no setting: did you mean %s?", name, nearest(name, known)))
	}
	slices.Sort(found)
	return found
}

// flagVariables returns the variables of all flags of all commands.
func flagVariables(app *kong.Application) []string {
	var names []string
	_ = kong.Visit(app, func(node kong.Visitable, next kong.Next) error { // no visit fails
		if flag, ok := node.(*kong.Flag); ok {
			names = append(names, flag.Envs...)
		}
		return next(nil)
	})
	return names
}
