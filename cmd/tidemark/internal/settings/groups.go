package settings

import (
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// A FlagGroup is the flags that --help shows under one heading.
type FlagGroup struct {
	Title string
	Flags []*kong.Flag
}

// HelpGroups returns the groups that flags name with the tag group, in the form that kong
// takes for --help.
func HelpGroups() []kong.Group {
	return []kong.Group{
		{Key: "auth", Title: "Authentication:"},
		{Key: "limits", Title: "Limits:"},
		{Key: "log", Title: "Event log:"},
		{Key: "redis", Title: "Event log in Redis:"},
		{Key: "logs", Title: "Logging and profiling:"},
	}
}

// GroupsOf returns the groups of a command's own flags, in the order of --help. Flags
// without a group come first, under "Node".
func GroupsOf(command *kong.Node) []*FlagGroup {
	groups := []*FlagGroup{{Title: "Node"}}
	for _, flag := range command.Flags {
		title := groups[0].Title
		if flag.Group != nil {
			title = strings.TrimSuffix(flag.Group.Title, ":")
		}
		i := slices.IndexFunc(groups, func(g *FlagGroup) bool { return g.Title == title })
		if i < 0 {
			i = len(groups)
			groups = append(groups, &FlagGroup{Title: title})
		}
		groups[i].Flags = append(groups[i].Flags, flag)
	}
	return groups
}
