package main

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

// maxConfig bounds a configuration file, in bytes. One that names every flag and
// a thousand retention rules is a tenth of it.
const maxConfig = 1 << 20

// configFile is the name of a YAML file. Its keys are the names of flags, of any
// command; its values are what the flags take, a list where a flag is repeatable.
type configFile string

// BeforeResolve has kong ask the file for the flags that the command line does
// not give. It runs before values are applied, hence not on the receiver's.
func (configFile) BeforeResolve(ctx *kong.Context, trace *kong.Path) error {
	name := string(ctx.FlagValue(trace.Flag).(configFile))
	if name == "" {
		return nil
	}
	values, err := readConfig(name)
	if err != nil {
		return err
	}
	ctx.AddResolver(&fileValues{name: name, values: values})
	return nil
}

func readConfig(name string) (map[string]yaml.Node, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if len(text) > maxConfig {
		return nil, fmt.Errorf("configuration %s: larger than %d bytes", name, maxConfig)
	}
	var values map[string]yaml.Node
	if err := yaml.Unmarshal(text, &values); err != nil {
		return nil, fmt.Errorf("configuration %s: %w", name, err)
	}
	return values, nil
}

// fileValues answers kong for a configuration file.
type fileValues struct {
	name   string
	values map[string]yaml.Node
}

var _ kong.Resolver = (*fileValues)(nil)

// Resolve returns what the file says about a flag. kong asks for every flag that
// the command line does not give, also for those that the environment does, and
// lets the answer win: so the environment's come back without one.
func (f *fileValues) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	if slices.ContainsFunc(flag.Envs, isSet) {
		return nil, nil
	}
	node, ok := f.values[flag.Name]
	if !ok {
		return nil, nil
	}
	value, err := valueOf(flag, &node)
	if err != nil {
		return nil, fmt.Errorf("%s:%d: %w", f.name, node.Line, err)
	}
	return value, nil
}

// valueOf returns what kong takes for a flag that a file gives. It is tried here, where it
// is known from which line it comes.
func valueOf(flag *kong.Flag, node *yaml.Node) (any, error) {
	if flag.IsSlice() && node.Kind == yaml.SequenceNode {
		return listOf(flag, node)
	}
	if node.Kind != yaml.ScalarNode {
		return nil, errors.New("want one value")
	}
	trial := reflect.New(flag.Target.Type()).Elem()
	if trial.Kind() == reflect.Pointer {
		trial.Set(reflect.New(trial.Type().Elem()))
	}
	scan := kong.Scan().PushTyped(node.Value, kong.FlagValueToken)
	return node.Value, flag.Mapper.Decode(&kong.DecodeContext{Value: flag.Value, Scan: scan}, trial)
}

// listOf is valueOf for a list. kong reads lists by way of JSON, and would say of a wrong
// one which Go types are involved.
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

// Validate refuses keys that are no flag's name: a misspelt setting must not
// look as if it were in force.
func (f *fileValues) Validate(app *kong.Application) error {
	known := flagNames(app)
	for key, node := range f.values {
		if !slices.Contains(known, key) {
			return fmt.Errorf("%s:%d: unknown key %q: did you mean %q?", f.name, node.Line, key, nearest(key, known))
		}
	}
	return nil
}

// flagNames returns the names of all flags that a file may set.
func flagNames(app *kong.Application) []string {
	var names []string
	_ = kong.Visit(app, func(node kong.Visitable, next kong.Next) error { // no visit fails
		if flag, ok := node.(*kong.Flag); ok && flag.Name != "help" && flag.Name != "config" {
			names = append(names, flag.Name)
		}
		return next(nil)
	})
	return names
}

func isSet(env string) bool {
	_, ok := os.LookupEnv(env)
	return ok
}

// nearest returns the name that the fewest edits turn key into.
func nearest(key string, names []string) string {
	return slices.MinFunc(names, func(a, b string) int { return edits(key, a) - edits(key, b) })
}

// edits is the Levenshtein distance: how many characters must be changed, added
// or removed to make b of a.
func edits(a, b string) int {
	row := make([]int, len(b)+1) // row[j]: from the part of a read so far to b[:j]
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
