package config

import (
	"encoding"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"
	"text/tabwriter"

	"github.com/alecthomas/kong"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
	"github.com/tidemark/tidemark/cmd/tidemark/internal/settings"
)

// printSettings writes the value of each flag of the selected command, with its source.
func printSettings(w io.Writer, ctx *kong.Context, file settings.File) error {
	sources, err := settings.SourcesOf(ctx, file)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i, group := range settings.GroupsOf(ctx.Selected()) {
		if i > 0 {
			fmt.Fprintln(table, "\t\t")
		}
		for _, flag := range group.Flags {
			fmt.Fprintf(table, "%s\t%s\t%s\n", flag.Name, printable(flag), sources.Of(flag))
		}
	}
	return table.Flush()
}

// secretTag marks a flag whose whole value is a secret.
const secretTag = "secret"

// printable returns the text of a flag's value without secrets.
func printable(flag *kong.Flag) string {
	text := valueText(flag.Target)
	switch {
	case text == "" || flag.Target.IsZero() && !flag.HasDefault && !flag.IsBool():
		return "-"
	case flag.Tag.Has(secretTag):
		return "(not shown)"
	case flag.PlaceHolder == "URL":
		return maskURL(text)
	}
	return cli.MaskSecrets(text)
}

// Patterns of secrets in a URL. They also match a malformed URL: one without a slash or a
// scheme, or with spaces in its password.
var (
	beforeHost      = regexp.MustCompile(`^(\w[\w+]*:/+)?.*@`)
	secretParameter = regexp.MustCompile(`(?i)([?&][^=&]*(?:password|secret|token|key)[^=&]*=)[^&]*`)
)

// maskURL masks the secrets of a text that is a URL as a whole. It can mask more than
// cli.MaskSecrets, which has to leave surrounding words alone.
func maskURL(text string) string {
	text = beforeHost.ReplaceAllString(text, "$1…@")
	return secretParameter.ReplaceAllString(text, "$1…")
}

// valueText returns a value in the form that its flag takes.
func valueText(v reflect.Value) string {
	if v.Kind() == reflect.Slice && v.Type().Name() == "" {
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = valueText(v.Index(i))
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
