// Command tidemark is the Tidemark server and its command-line client.
//
// This package holds the command tree. The commands are in internal packages:
//
//	serve     run a node
//	config    check a node's configuration, print the reference of all settings
//	client    publish, tail, history, health: talk to a node over HTTP
//	admin     token, key, doctor, restored: work without a running node
//	settings  flags, environment and configuration file
//	cli       what all commands share
//
// Exit codes: 0 for success, also after Ctrl-C where it is the normal end (serve, tail); 1 for
// a failure; 2 for an error in the command line, the environment or the configuration file.
package main

//go:generate sh -c "go run . config reference >../../docs/configuration.md"

import (
	"errors"
	"os"

	"github.com/alecthomas/kong"

	"github.com/tidemark/tidemark/cmd/tidemark/internal/admin"
	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
	"github.com/tidemark/tidemark/cmd/tidemark/internal/client"
	"github.com/tidemark/tidemark/cmd/tidemark/internal/config"
	"github.com/tidemark/tidemark/cmd/tidemark/internal/serve"
	"github.com/tidemark/tidemark/cmd/tidemark/internal/settings"
)

const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

const description = `Tidemark delivers events to browsers and programs exactly once and in order, across disconnects.

To try it, run "tidemark serve". In a second terminal run "tidemark tail lobby", and in a third
"tidemark publish lobby '{"text":"hi"}'". Stop the server, start it again, and publish again:
tail reconnects and prints exactly the events it missed.

Every flag is also an environment variable (--max-data is TIDEMARK_MAX_DATA) and a key of
the YAML file that --config names (max-data: 65536). Flags override environment variables,
which override the file, which overrides the defaults.

Exit codes: 0 success; 1 failure; 2 an error in the command line, the environment or the
configuration file.`

// commandLine is the tree of commands. The fields of each command are its flags.
type commandLine struct {
	Config settings.File `placeholder:"FILE" help:"Read settings from this YAML file."`

	Serve    serve.Cmd      `cmd:"" help:"Run a node."`
	Publish  client.Publish `cmd:"" help:"Publish events to a room."`
	Tail     client.Tail    `cmd:"" help:"Follow a room, across disconnects."`
	History  client.History `cmd:"" help:"Print the events that the log keeps of a room."`
	Token    admin.Token    `cmd:"" help:"Make a token for tests."`
	Key      admin.Key      `cmd:"" help:"Make API keys."`
	Doctor   admin.Doctor   `cmd:"" help:"Check a Redis deployment for event loss and failures."`
	Restored admin.Restored `cmd:"" help:"Mark a log that you have restored from a backup."`
	Settings config.Cmd     `cmd:"" name:"config" help:"Check and describe the configuration of a node."`
	Health   client.Health  `cmd:"" help:"Ask a node whether it can serve."`
	Version  versionCmd     `cmd:"" help:"Print the version."`
}

func main() {
	os.Exit(execute(os.Args[1:], cli.Stdio{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}))
}

// execute parses args, runs the command and returns the exit code.
func execute(args []string, std cli.Stdio) int {
	if len(args) == 0 {
		args = []string{"--help"}
	}
	var c commandLine
	parser := kong.Must(&c,
		kong.Name("tidemark"),
		kong.Description(description),
		kong.DefaultEnvars(settings.EnvPrefix),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoAppDescFormat: true, WrapUpperBound: 100}),
		kong.ExplicitGroups(settings.HelpGroups()),
		kong.Writers(std.Out, std.Err),
		kong.Bind(std, serve.Build{Version: version(), Metric: buildInfo()}),
	)
	command, err := parser.Parse(args)
	if err != nil {
		parser.Errorf("%s", cli.ParseErrorText(err))
		return exitUsage
	}
	if err := command.Run(c.Config); err != nil {
		parser.Errorf("%s", cli.ErrorText(err))
		return exitCode(err)
	}
	return exitOK
}

func exitCode(err error) int {
	if errors.As(err, new(cli.UsageError)) {
		return exitUsage
	}
	return exitFailed
}
