package cli

import (
	"errors"
	"regexp"

	"github.com/alecthomas/kong"
)

// unclear lists messages of the command-line parser that name Go types or internals, with
// their replacements.
var unclear = []struct {
	message     *regexp.Regexp
	replacement string
}{
	{regexp.MustCompile(`expected \w+ value but got "EOL" \(<EOL>\)`), `a value is missing: give it after this flag`},
	{regexp.MustCompile(`expected a valid \d+ bit u?int but got`), `want a whole number, got`},
	{regexp.MustCompile(`expected duration but got ("[^"]*")(: time: .*)?`), `want a time such as 500ms, 10s or 2m, got $1`},
	{regexp.MustCompile(`slog: level string ("[^"]*"): unknown name`), `want debug, info, warn or error, got $1`},
	{regexp.MustCompile(`^--url: parse ("[^"]*"): .*`), `--url: want http://HOST:PORT, https://HOST:PORT or unix:/path, got $1`},
	{regexp.MustCompile(`the log cannot give that durability: ("[^"]*") is not`), `$1 is not`},
	{regexp.MustCompile(`^expected ("[^"]*")$`), `$1 is missing`},
	{regexp.MustCompile(`^expected (one of "[^:]*)$`), `a command is missing, $1`},
}

// structural matches errors in the structure of a command line. They do not name the possible
// commands or flags.
var structural = regexp.MustCompile(`^(?:unexpected argument|unknown flag|a command is missing|"[^"]*" is missing)`)

// ParseErrorText returns the text of an error in the command line, with secrets masked. It says
// what to write instead, or which help lists the possibilities.
func ParseErrorText(err error) string {
	text := ErrorText(err)
	for _, u := range unclear {
		text = u.message.ReplaceAllString(text, u.replacement)
	}
	if parse := (*kong.ParseError)(nil); structural.MatchString(text) && errors.As(err, &parse) {
		text += `: see "` + helpOf(parse.Context) + `"`
	}
	return text
}

// helpOf returns the command line that prints the help of the selected command.
func helpOf(ctx *kong.Context) string {
	command := ctx.Model.Name
	for _, p := range ctx.Path {
		if p.Command != nil {
			command = p.Command.FullPath()
		}
	}
	return command + " --help"
}
