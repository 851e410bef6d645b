package settings

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// EnvPrefix starts the name of every flag's environment variable.
const EnvPrefix = "TIDEMARK"

// serviceLink matches variables that Kubernetes and Docker set for a service: for one named
// tidemark, for example TIDEMARK_PORT and TIDEMARK_SERVICE_HOST.
var serviceLink = regexp.MustCompile(`_(SERVICE_(HOST|PORT\w*)|PORT(_\d+_(TCP|UDP|SCTP)\w*)?)$`)

// UnknownVariables returns a warning for each variable in environ ("NAME=value") that has
// the prefix of settings and is not a setting. These variables do not stop a node from
// starting, because the platform may have set them.
func UnknownVariables(app *kong.Application, environ []string) []string {
	known := flagVariables(app)
	var warnings []string
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		if !strings.HasPrefix(name, EnvPrefix+"_") || slices.Contains(known, name) || serviceLink.MatchString(name) {
			continue
		}
		warnings = append(warnings, fmt.Sprintf("the environment variable %s is not a setting: did you mean %s?", name, nearest(name, known)))
	}
	slices.Sort(warnings)
	return warnings
}

// flagVariables returns the environment variables of all flags of all commands.
func flagVariables(app *kong.Application) []string {
	var names []string
	forEachFlag(app, func(flag *kong.Flag) { names = append(names, flag.Envs...) })
	return names
}

func forEachFlag(app *kong.Application, f func(*kong.Flag)) {
	_ = kong.Visit(app, func(node kong.Visitable, next kong.Next) error { // returns only f's errors, and f has none
		if flag, ok := node.(*kong.Flag); ok {
			f(flag)
		}
		return next(nil)
	})
}

func isSet(variable string) bool {
	_, ok := os.LookupEnv(variable)
	return ok
}
