package main

import (
	"fmt"
	"time"

	"github.com/tidemark/tidemark/access"
)

type tokenCmd struct {
	secretFlags
	Sub       string   `placeholder:"USER" help:"The user, whose inbox @USER the token may follow."`
	Subscribe []string `sep:";" placeholder:"PATTERN" help:"Rooms that it allows to follow and to read: names with * for any characters and {sub} for the user. Repeatable."`
	Publish   []string `sep:";" placeholder:"PATTERN" help:"Rooms that it allows to publish into. Repeatable."`
	Presence  []string `sep:";" placeholder:"PATTERN" help:"Rooms that it allows to see the presence of. Repeatable."`
	Admin     bool     `help:"Allow to look at the node: its metrics."`
	Life      age      `default:"1h" placeholder:"AGE" help:"How long it is good (default ${default})."`
}

func (tokenCmd) Help() string {
	return `Makes a token, signed by HS256, for trying. In earnest tokens are made by the application, which knows its users.

    head -c 32 /dev/urandom | base64 > secret
    tidemark serve --auth-secret-file secret
    export TIDEMARK_TOKEN=$(tidemark token --auth-secret-file secret --sub ann --subscribe 'chat:*' --publish 'chat:*')
    tidemark tail chat:1`
}

func (c *tokenCmd) Run(std stdio) error {
	secrets, err := c.secrets()
	if err != nil {
		return err
	}
	if secrets == nil {
		return usageError("want --auth-secret-file, or TIDEMARK_AUTH_SECRET in the environment")
	}
	token, err := access.Mint(secrets[0], access.TokenSpec{
		Subject: c.Sub, Issuer: c.AuthIssuer, Audience: c.AuthAudience, Life: time.Duration(c.Life),
		Scopes: access.Scopes{Subscribe: c.Subscribe, Publish: c.Publish, Presence: c.Presence, Admin: c.Admin},
	})
	if err != nil {
		return usageError(err.Error())
	}
	_, err = fmt.Fprintln(std.out, token)
	return err
}

type keyCmd struct {
	New newKeyCmd `cmd:"" help:"Make an API key."`
}

type newKeyCmd struct{}

func (newKeyCmd) Help() string {
	return `Prints a new key and its hash. The key goes to the program that publishes; it is not kept anywhere and can't be found again from its hash. The hash goes into the nodes' configuration, with what the key allows:

    tidemark serve --auth-key '<hash>=publish:chat:* publish:news'

To withdraw a key, take its hash out and restart the nodes.`
}

func (newKeyCmd) Run(std stdio) error {
	key, hash := access.NewKey()
	_, err := fmt.Fprintf(std.out, "key   %s\nhash  %s\n", key, hash)
	return err
}
