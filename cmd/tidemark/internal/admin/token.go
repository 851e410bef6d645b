// Package admin holds the commands for operators that work without a running node: token,
// key, doctor and restored.
package admin

import (
	"fmt"
	"time"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
	"github.com/tidemark/tidemark/cmd/tidemark/internal/settings"
)

// Token is the token command.
type Token struct {
	settings.SecretFlags
	Sub       string       `placeholder:"USER" help:"Name of the user. The token may also follow the user's inbox, the room @USER."`
	Subscribe []string     `sep:";" placeholder:"PATTERN" help:"Rooms that the token may follow and read: a name in which * matches any characters and {sub} is the user. Repeatable."`
	Publish   []string     `sep:";" placeholder:"PATTERN" help:"Rooms that the token may publish to. Repeatable."`
	Presence  []string     `sep:";" placeholder:"PATTERN" help:"Rooms whose presence the token may see. Reserved: this version has no presence. Repeatable."`
	Admin     bool         `help:"Allow access to the node's metrics."`
	Life      settings.Age `default:"1h" placeholder:"AGE" help:"How long the token is valid (default ${default})."`
}

// Help returns the text of --help below the usage line.
func (Token) Help() string {
	return `Prints a token for tests, signed with HS256. In production your application makes the tokens, because it knows its users.

    head -c 32 /dev/urandom | base64 > secret
    tidemark serve --auth-secret-file secret
    export TIDEMARK_TOKEN=$(tidemark token --auth-secret-file secret --sub ann --subscribe 'chat:*' --publish 'chat:*')
    tidemark tail chat:1`
}

// Run prints a token.
func (c *Token) Run(std cli.Stdio) error {
	secrets, err := c.Secrets()
	if err != nil {
		return err
	}
	if secrets == nil {
		return cli.UsageError("the secret is missing: want --auth-secret-file, or TIDEMARK_AUTH_SECRET in the environment")
	}
	token, err := access.Mint(secrets[0], access.TokenSpec{
		Subject: c.Sub, Issuer: c.AuthIssuer, Audience: c.AuthAudience, Life: time.Duration(c.Life),
		Scopes: access.Scopes{Subscribe: c.Subscribe, Publish: c.Publish, Presence: c.Presence, Admin: c.Admin},
	})
	if err != nil {
		return cli.UsageError(err.Error())
	}
	_, err = fmt.Fprintln(std.Out, token)
	return err
}
