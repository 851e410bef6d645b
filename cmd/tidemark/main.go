// Command tidemark is the Tidemark server and its command-line client.
//
// Exit codes: 0 when all went well, also after Ctrl-C where that is the normal
// end (serve, tail); 1 when something failed; 2 when the command line, the
// environment or the configuration file is wrong.
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"regexp"
	"syscall"

	"github.com/alecthomas/kong"
)

const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// envPrefix starts the name of every flag's environment variable.
const envPrefix = "TIDEMARK"

const description = `Tidemark delivers every event, in order, across disconnects.

Start with "tidemark serve"; in a second terminal run "tidemark tail lobby", in a
third "tidemark publish lobby '{"text":"hi"}'". Stop the server, publish again once it
is back: tail reconnects and shows exactly what it missed.

Every flag is also an environment variable (--max-data is TIDEMARK_MAX_DATA) and a
key of the YAML file that --config names (max-data: 65536). Flags win over the
environment, the environment over the file, the file over the defaults.

Exit codes: 0 all went well; 1 something failed; 2 the command line, the
environment or the configuration is wrong.`

// cli is the command line. Each command's fields are its flags.
type cli struct {
	Config configFile `placeholder:"FILE" help:"Read flags from a YAML file."`

	Serve    serveCmd    `cmd:"" help:"Run a node."`
	Publish  publishCmd  `cmd:"" help:"Publish events into a room."`
	Tail     tailCmd     `cmd:"" help:"Follow a room, across disconnects."`
	History  historyCmd  `cmd:"" help:"Print what the log keeps of a room."`
	Token    tokenCmd    `cmd:"" help:"Make a token, for trying."`
	Key      keyCmd      `cmd:"" help:"Make API keys."`
	Doctor   doctorCmd   `cmd:"" help:"Say what a Redis can lose, and what will hurt."`
	Restored restoredCmd `cmd:"" help:"Tell a log that it was brought back from a copy."`
	Settings configCmd   `cmd:"" name:"config" help:"Look at the configuration of a node."`
	Health   healthCmd   `cmd:"" help:"Ask a node whether it can serve."`
	Version  versionCmd  `cmd:"" help:"Print the version."`
}

func main() {
	os.Exit(execute(os.Args[1:], stdio{in: os.Stdin, out: os.Stdout, err: os.Stderr}))
}

// execute parses args, runs the command and returns the exit code.
func execute(args []string, std stdio) int {
	if len(args) == 0 {
		args = []string{"--help"}
	}
	var c cli
	parser := kong.Must(&c,
		kong.Name("tidemark"),
		kong.Description(description),
		kong.DefaultEnvars(envPrefix),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoAppDescFormat: true, WrapUpperBound: 100}),
		kong.ExplicitGroups([]kong.Group{{Key: "auth", Title: "Who may do what:"}, {Key: "limits", Title: "Limits:"}, {Key: "log", Title: "The log of events:"}, {Key: "redis", Title: "The log in Redis:"}, {Key: "logs", Title: "What the node says about itself:"}}),
		kong.Writers(std.out, std.err),
		kong.BindFor(std),
	)
	command, err := parser.Parse(args)
	if err != nil {
		parser.Errorf("%s", withoutSecrets(err))
		return exitUsage
	}
	if err := command.Run(); err != nil {
		parser.Errorf("%s", withoutSecrets(err))
		return exitCode(err)
	}
	return exitOK
}

// withoutSecrets is err's text as it may be printed: a URL may be in the wrong place of a
// command line, and errors quote that.
func withoutSecrets(err error) string { return maskSecrets(err.Error()) }

// What is a secret wherever it stands: what a URL has between :// and @, a parameter of
// it with such a name, an API key.
var (
	userinfo  = regexp.MustCompile(`://\S*@`)
	parameter = regexp.MustCompile(`([?&][^=&\s]*(?:password|secret|token|key)[^=&\s]*=)[^&\s]*`)
	apiKey    = regexp.MustCompile(`tmk_\S*`)
)

func maskSecrets(text string) string {
	text = userinfo.ReplaceAllString(text, "://…@")
	text = parameter.ReplaceAllString(text, "$1…")
	return apiKey.ReplaceAllString(text, "…")
}

func exitCode(err error) int {
	if errors.As(err, new(usageError)) {
		return exitUsage
	}
	return exitFailed
}

// usageError reports arguments that parse and still can't be meant.
type usageError string

func (e usageError) Error() string { return string(e) }

// interruptible returns a context that SIGINT and SIGTERM end. A second signal
// ends the process at once, for a graceful end may hang: also one that comes as soon as
// anybody can see that the first was heard.
func interruptible() (ctx context.Context, stop func()) {
	signals, restore := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithCancel(context.Background())
	context.AfterFunc(signals, func() {
		restore()
		cancel()
	})
	return ctx, restore
}
