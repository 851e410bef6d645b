package settings

import (
	"fmt"
	"slices"

	"github.com/alecthomas/kong"
)

// Sources tells where the value of each flag of a parsed command line comes from.
type Sources struct {
	given map[*kong.Flag]bool // flags on the command line
	file  *fileValues         // nil without a configuration file
}

// SourcesOf returns the sources for a parsed command line and the configuration file, which
// may be "".
func SourcesOf(ctx *kong.Context, name File) (*Sources, error) {
	s := &Sources{given: map[*kong.Flag]bool{}}
	for _, p := range ctx.Path {
		if p.Flag != nil && !p.Resolved {
			s.given[p.Flag] = true
		}
	}
	if name == "" {
		return s, nil
	}
	values, err := name.read()
	s.file = values
	return s, err
}

// Of names the source of a flag's value: "command line", "$VARIABLE", "FILE:LINE" or
// "default". It looks at them in the order of precedence.
func (s *Sources) Of(flag *kong.Flag) string {
	if s.given[flag] {
		return "command line"
	}
	if i := slices.IndexFunc(flag.Envs, isSet); i >= 0 {
		return "$" + flag.Envs[i]
	}
	if s.file != nil {
		if node, ok := s.file.nodes[flag.Name]; ok {
			return fmt.Sprintf("%s:%d", s.file.name, node.Line)
		}
	}
	return "default"
}
