package cli

import "regexp"

// A UsageError reports a wrong command line, environment or configuration file. The
// program then exits with code 2.
type UsageError string

func (e UsageError) Error() string { return string(e) }

// ErrorText returns the text of err with secrets masked. An error may quote the command
// line, and a user may have put a URL with a password or a key in the wrong place of it.
func ErrorText(err error) string { return MaskSecrets(err.Error()) }

// Patterns of secrets in any text: the user information of a URL, a query parameter with a
// telling name, and an API key.
var (
	userinfo  = regexp.MustCompile(`://\S*@`)
	parameter = regexp.MustCompile(`([?&][^=&\s]*(?:password|secret|token|key)[^=&\s]*=)[^&\s]*`)
	apiKey    = regexp.MustCompile(`tmk_\S*`)
)

// MaskSecrets returns text with an ellipsis in place of each secret.
func MaskSecrets(text string) string {
	text = userinfo.ReplaceAllString(text, "://…@")
	text = parameter.ReplaceAllString(text, "$1…")
	return apiKey.ReplaceAllString(text, "…")
}
