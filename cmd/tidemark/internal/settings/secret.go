package settings

import (
	"bytes"
	"fmt"
	"os"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
)

// SecretFlags select the secret that signs tokens. The node that verifies tokens and the
// command that makes them share these flags.
type SecretFlags struct {
	AuthSecretFile string `placeholder:"FILE" group:"auth" help:"File with the secret of tokens signed with HS256, HS384 or HS512. Each line is one secret of at least 32 bytes. Nodes accept tokens of every secret in the file, so that you can replace one; the command token uses the first."`
	AuthSecret     string `placeholder:"SECRET" secret:"" group:"auth" help:"The secret of tokens itself, instead of a file. Set it in the environment only: other users of the machine can read command lines."`
	AuthIssuer     string `placeholder:"NAME" group:"auth" help:"Issuer (iss) that every token must have (default: any)."`
	AuthAudience   string `placeholder:"NAME" group:"auth" help:"Audience (aud) that every token must include (default: any)."`
}

// Secrets returns one secret per line, or nil if none is configured. The first one signs
// new tokens. The others are being replaced; their tokens are accepted as long as they are
// listed.
func (f *SecretFlags) Secrets() ([][]byte, error) {
	text, from := []byte(f.AuthSecret), "--auth-secret"
	if f.AuthSecretFile != "" {
		if f.AuthSecret != "" {
			return nil, cli.UsageError("--auth-secret and --auth-secret-file can't be used together: remove one")
		}
		from = "--auth-secret-file " + f.AuthSecretFile
		var err error
		if text, err = os.ReadFile(f.AuthSecretFile); err != nil {
			return nil, fmt.Errorf("--auth-secret-file: %w", err)
		}
	} else if f.AuthSecret == "" {
		return nil, nil
	}
	var secrets [][]byte
	for line := range bytes.Lines(text) {
		line = bytes.TrimRight(line, "\r\n")
		secrets = append(secrets, line)
		if len(line) < access.MinSecret {
			return nil, cli.UsageError(fmt.Sprintf("%s: the secret in line %d has %d bytes, want at least %d", from, len(secrets), len(line), access.MinSecret))
		}
	}
	if secrets == nil {
		return nil, cli.UsageError(from + " is empty: put the secret into it")
	}
	return secrets, nil
}
