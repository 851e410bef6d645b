package serve

import (
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/tidemark/tidemark/access"
	"github.com/tidemark/tidemark/api"
	"github.com/tidemark/tidemark/cmd/tidemark/internal/cli"
	"github.com/tidemark/tidemark/cmd/tidemark/internal/settings"
)

// authFlags set which credentials the node accepts. Without secrets, public keys and API
// keys, every client may do everything.
type authFlags struct {
	settings.SecretFlags
	AuthPublicKeyFile string    `placeholder:"FILE" group:"auth" help:"Accept tokens signed with RS256, ES256 or EdDSA and a key in this file: PEM, one or more public keys."`
	AuthJWKSURL       string    `name:"auth-jwks-url" placeholder:"URL" group:"auth" help:"Accept tokens signed with a key of the JWKS at this https:// URL. The node reads it again every 5 minutes."`
	AuthKey           []authKey `sep:";" placeholder:"HASH=SCOPES" group:"auth" help:"Accept an API key: the hash that 'tidemark key new' prints, and the scopes of the key, such as 'HASH=publish:chat:* subscribe:news admin'. Repeatable (in the environment: separated by ';')."`
	AuthCookie        string    `placeholder:"NAME" group:"auth" help:"Also accept a token in this cookie, from pages of the node's own origin and of each --cors-origin (default: no cookie)."`
	CORSOrigin        []origin  `name:"cors-origin" placeholder:"ORIGIN" group:"auth" help:"Origin whose pages may call this node from a browser, such as https://app.example.com, or * for every origin. Repeatable."`
}

// authKey is an API key in the configuration: its hash and scopes.
type authKey access.Key

// UnmarshalText implements encoding.TextUnmarshaler.
func (k *authKey) UnmarshalText(text []byte) error {
	key, err := access.ParseKey(string(text))
	*k = authKey(key)
	return err
}

// String returns the text of the configuration. It may be shown: the hash does not reveal
// the key.
func (k authKey) String() string { return access.Key(k).String() }

// origin is the origin of a web page.
type origin string

// UnmarshalText implements encoding.TextUnmarshaler.
func (o *origin) UnmarshalText(text []byte) error {
	parsed, err := api.ParseOrigin(string(text))
	*o = origin(parsed)
	return err
}

// acceptsTokens reports whether the node can verify tokens.
func (f *authFlags) acceptsTokens() bool {
	return f.AuthSecret != "" || f.AuthSecretFile != "" || f.AuthPublicKeyFile != "" || f.AuthJWKSURL != ""
}

// requiresCredentials reports whether clients need a token or an API key.
func (f *authFlags) requiresCredentials() bool { return f.acceptsTokens() || len(f.AuthKey) > 0 }

// check refuses settings that have no effect or contradict each other.
func (f *authFlags) check() error {
	switch {
	case (f.AuthIssuer != "" || f.AuthAudience != "") && !f.acceptsTokens():
		return cli.UsageError("--auth-issuer and --auth-audience have no effect without tokens: add --auth-secret-file, --auth-public-key-file or --auth-jwks-url")
	case f.AuthCookie != "" && !f.requiresCredentials():
		return cli.UsageError("--auth-cookie has no effect because clients need no token: add another --auth flag")
	case f.AuthCookie != "" && slices.Contains(f.CORSOrigin, "*"):
		return cli.UsageError("--auth-cookie and --cors-origin '*' can't be used together: every web page could act with the cookies of its visitors")
	}
	return nil
}

// openVerifier returns the verifier of credentials, or nil if clients need none.
func (f *authFlags) openVerifier(logger *slog.Logger) (*access.Verifier, error) {
	if !f.requiresCredentials() {
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

// accessOptions reads the files with secrets and public keys.
func (f *authFlags) accessOptions() (o access.Options, err error) {
	o = access.Options{JWKS: f.AuthJWKSURL, Issuer: f.AuthIssuer, Audience: f.AuthAudience}
	if o.Secrets, err = f.Secrets(); err != nil {
		return o, err
	}
	if f.AuthPublicKeyFile != "" {
		if o.PublicKeys, err = os.ReadFile(f.AuthPublicKeyFile); err != nil {
			return o, fmt.Errorf("--auth-public-key-file: %w", err)
		}
		if len(o.PublicKeys) == 0 {
			return o, cli.UsageError("--auth-public-key-file " + f.AuthPublicKeyFile + " is empty: put the public keys into it")
		}
	}
	for _, k := range f.AuthKey {
		o.Keys = append(o.Keys, access.Key(k))
	}
	return o, nil
}

func unusableKeys(err error) error { return cli.UsageError("authentication: " + err.Error()) }

func (f *authFlags) origins() []string {
	list := make([]string, len(f.CORSOrigin))
	for i, o := range f.CORSOrigin {
		list[i] = string(o)
	}
	return list
}

// credentialKinds names the accepted credentials for the log: "tokens", "keys", both or
// "none".
func (f *authFlags) credentialKinds() string {
	var kinds []string
	if f.acceptsTokens() {
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
