package admin

import (
	"fmt"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
)

// Key groups the commands for API keys.
type Key struct {
	New NewKey `cmd:"" help:"Make an API key."`
}

// NewKey is the command key new.
type NewKey struct{}

// Help returns the text of --help below the usage line.
func (NewKey) Help() string {
	return `Prints a new API key and its hash. Give the key to the program that uses it. Tidemark does not store the key, and it cannot be computed from the hash. Put the hash into the nodes' configuration, with the scopes of the key:

    tidemark serve --auth-key '<hash>=publish:chat:* publish:news'

To revoke a key, remove its hash and restart the nodes.`
}

// Run prints a key and its hash.
func (NewKey) Run(std cli.Stdio) error {
	key, hash := access.NewKey()
	_, err := fmt.Fprintf(std.Out, "key   %s\nhash  %s\n", key, hash)
	return err
}
