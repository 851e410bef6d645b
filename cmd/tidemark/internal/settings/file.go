// Package settings reads the settings of the program: which file, variable or flag gives a
// setting its value, and the kinds of values and groups of flags that commands share.
package settings

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// maxFile bounds a configuration file, in bytes. A file with every flag and a thousand
// retention rules needs a tenth of it.
const maxFile = 1 << 20

// A File is the name of a YAML configuration file. Its keys are flag names of any command.
// Its values have the form that the flag takes, or are a list if the flag is repeatable.
type File string

// BeforeResolve makes kong look up the flags that the command line does not give in the
// file. kong runs it before it assigns values, so the receiver is still empty and the name
// comes from ctx.
func (File) BeforeResolve(ctx *kong.Context, trace *kong.Path) error {
	name := ctx.FlagValue(trace.Flag).(File)
	if name == "" {
		return nil
	}
	values, err := name.read()
	if err != nil {
		return err
	}
	ctx.AddResolver(values)
	return nil
}

func (name File) read() (*fileValues, error) {
	f, err := os.Open(string(name))
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("configuration %s: larger than %d bytes: shorten it", name, maxFile)
	}
	var nodes map[string]yaml.Node
	if err := yaml.Unmarshal(text, &nodes); err != nil {
		return nil, fmt.Errorf("configuration %s: %w", name, err)
	}
	return &fileValues{name: string(name), nodes: nodes}, nil
}

// fileValues are the settings in a configuration file.
type fileValues struct {
	name  string
	nodes map[string]yaml.Node // by flag name
}

var _ kong.Resolver = (*fileValues)(nil)

// Resolve returns the value that the file gives a flag. kong asks for every flag that is
// not on the command line, even if the environment sets it, and prefers the answer. So
// Resolve returns nothing for a flag that the environment sets.
func (f *fileValues) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if slices.ContainsFunc(flag.Envs, isSet) {
		return nil, nil
	}
	node, ok := f.nodes[flag.Name]
	if !ok {
		return nil, nil
	}
	value, err := valueOf(flag, &node)
	if err != nil {
		return nil, fmt.Errorf("%s:%d: %w", f.name, node.Line, err)
	}
	return value, nil
}

// valueOf returns the value of a flag in the form that kong takes. It decodes the value once
// itself, because only here the line number for an error is known.
func valueOf(flag *kong.Flag, node *yaml.Node) (any, error) {
	if flag.IsSlice() && node.Kind == yaml.SequenceNode {
		return listOf(flag, node)
	}
	if node.Kind != yaml.ScalarNode {
		return nil, errors.New("want one value, not a list or a mapping")
	}
	trial := reflect.New(flag.Target.Type()).Elem()
	if trial.Kind() == reflect.Pointer {
		trial.Set(reflect.New(trial.Type().Elem()))
	}
	scan := kong.Scan().PushTyped(node.Value, kong.FlagValueToken)
	return node.Value, flag.Mapper.Decode(&kong.DecodeContext{Value: flag.Value, Scan: scan}, trial)
}

// listOf is valueOf for a list. kong decodes lists by way of JSON, and its errors would name
// Go types.
func listOf(flag *kong.Flag, node *yaml.Node) ([]any, error) {
	list := make([]any, len(node.Content))
	for i, item := range node.Content {
		list[i] = item.Value
	}
	text, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	return list, json.Unmarshal(text, reflect.New(flag.Target.Type()).Interface())
}

// Validate refuses a key that is not the name of a flag. Otherwise a misspelt setting would
// be ignored silently.
func (f *fileValues) Validate(app *kong.Application) error {
	known := flagNames(app)
	for key, node := range f.nodes {
		if !slices.Contains(known, key) {
			return fmt.Errorf("%s:%d: unknown key %q: did you mean %q?", f.name, node.Line, key, nearest(key, known))
		}
	}
	return nil
}

// flagNames returns the names of all flags that a file may set.
func flagNames(app *kong.Application) []string {
	var names []string
	forEachFlag(app, func(flag *kong.Flag) {
		if flag.Name != "help" && flag.Name != "config" {
			names = append(names, flag.Name)
		}
	})
	return names
}
