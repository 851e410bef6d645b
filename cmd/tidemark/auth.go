package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api"
)

// secretFlags say how tokens are signed and for whom. The node that verifies tokens and
// the command that makes them have them in common.
type secretFlags struct {
	AuthSecretFile string `placeholder:"FILE" group:"auth" help:"File with the secret of tokens signed by HS256, HS384 or HS512: one line of 32 bytes or more. Further lines are secrets that are being replaced: their tokens are still good."`
	AuthSecret     string `placeholder:"SECRET" secret:"" group:"auth" help:"The secret itself, meant for the environment: a command line is seen by everybody on the machine."`
	AuthIssuer     string `placeholder:"NAME" group:"auth" help:"What a token's iss has to be (default: anything)."`
	AuthAudience   string `placeholder:"NAME" group:"auth" help:"What a token's aud has to have (default: anything)."`
}

// secrets returns the secrets of tokens, nil where none is given: each a line. The first is
// what tokens are signed with. Those after it are being replaced, and are good until
// they are taken out.
func (f *secretFlags) secrets() ([][]byte, error) {
	text, from := []byte(f.AuthSecret), "--auth-secret"
	if f.AuthSecretFile != "" {
		if f.AuthSecret != "" {
			return nil, usageError("--auth-secret and --auth-secret-file can't be used together")
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
			return nil, usageError(fmt.Sprintf("%s: %d bytes in line %d, want at least %d", from, len(line), len(secrets), access.MinSecret))
		}
	}
	if secrets == nil {
		return nil, usageError(from + " is empty")
	}
	return secrets, nil
}

// authFlags say who may do what. With none of them everybody may do everything.
type authFlags struct {
	secretFlags
	AuthPublicKeyFile string    `placeholder:"FILE" group:"auth" help:"Public keys of tokens signed by RS256, ES256 or EdDSA, PEM, one after the other."`
	AuthJWKSURL       string    `name:"auth-jwks-url" placeholder:"URL" group:"auth" help:"Key set with the same, read again every 5 minutes."`
	AuthKey           []authKey `sep:";" placeholder:"HASH=SCOPES" group:"auth" help:"API key, by the hash that 'tidemark key new' prints, and what it allows: 'HASH=publish:chat:* subscribe:news admin'. Repeatable (in the environment: separated by ';')."`
	AuthCookie        string    `placeholder:"NAME" group:"auth" help:"Cookie that may carry the token, for pages of this origin and of those named by --cors-origin (default: none)."`
	CORSOrigin        []origin  `name:"cors-origin" placeholder:"ORIGIN" group:"auth" help:"Origin whose pages may use this node, such as https://app.example.com, or * for all. Repeatable."`
}

// authKey is a key of the configuration.
type authKey access.Key

func (k *authKey) UnmarshalText(text []byte) error {
	key, err := access.ParseKey(string(text))
	*k = authKey(key)
	return err
}

// String is what the configuration has. The hash tells nothing of the key.
func (k authKey) String() string { return access.Key(k).String() }

// origin is where pages come from.
type origin string

func (o *origin) UnmarshalText(text []byte) error {
	parsed, err := api.ParseOrigin(string(text))
	*o = origin(parsed)
	return err
}

// tokens reports whether tokens can be verified.
func (f *authFlags) tokens() bool {
	return f.AuthSecret != "" || f.AuthSecretFile != "" || f.AuthPublicKeyFile != "" || f.AuthJWKSURL != ""
}

// asks reports whether clients are asked who they are.
func (f *authFlags) asks() bool { return f.tokens() || len(f.AuthKey) > 0 }

// checkAuth refuses settings that have no effect: they would look as if they had.
func (f *authFlags) checkAuth() error {
	switch {
	case (f.AuthIssuer != "" || f.AuthAudience != "") && !f.tokens():
		return usageError("--auth-issuer and --auth-audience are about tokens: want --auth-secret-file, --auth-public-key-file or --auth-jwks-url too")
	case f.AuthCookie != "" && !f.asks():
		return usageError("--auth-cookie: nobody is asked for a token: want one of the other --auth flags too")
	case f.AuthCookie != "" && slices.Contains(f.CORSOrigin, "*"):
		return usageError("--auth-cookie and --cors-origin '*' can't be used together: every page could use its visitors' cookies")
	}
	return nil
}

// openAccess returns what verifies credentials; nil where nobody is asked for one.
func (f *authFlags) openAccess(logger *slog.Logger) (*access.Verifier, error) {
	if !f.asks() {
		return nil, nil
	}
	o, err := f.accessOptions()
	if err != nil {
		return nil, err
	}
	o.Logger = logger
	v, err := access.Open(o)
	if err != nil {
		return nil, unusableKeys(err)
	}
	return v, nil
}

// accessOptions reads the files that are named.
func (f *authFlags) accessOptions() (o access.Options, err error) {
	o = access.Options{JWKS: f.AuthJWKSURL, Issuer: f.AuthIssuer, Audience: f.AuthAudience}
	if o.Secrets, err = f.secrets(); err != nil {
		return o, err
	}
	if f.AuthPublicKeyFile != "" {
		if o.PublicKeys, err = os.ReadFile(f.AuthPublicKeyFile); err != nil {
			return o, fmt.Errorf("--auth-public-key-file: %w", err)
		}
		if len(o.PublicKeys) == 0 {
			return o, usageError("--auth-public-key-file " + f.AuthPublicKeyFile + " is empty")
		}
	}
	for _, k := range f.AuthKey {
		o.Keys = append(o.Keys, access.Key(k))
	}
	return o, nil
}

func unusableKeys(err error) error { return usageError("authentication: " + err.Error()) }

// origins returns those whose pages are welcome.
func (f *authFlags) origins() []string {
	list := make([]string, len(f.CORSOrigin))
	for i, o := range f.CORSOrigin {
		list[i] = string(o)
	}
	return list
}

// credentials says in a word what clients are asked for, for the log.
func (f *authFlags) credentials() string {
	var kinds []string
	if f.tokens() {
		kinds = append(kinds, "tokens")
	}
	if len(f.AuthKey) > 0 {
		kinds = append(kinds, "keys")
	}
	if kinds == nil {
		return "none"
	}
	return strings.Join(kinds, ", ")
}
