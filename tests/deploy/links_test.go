package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	anchor  = regexp.MustCompile(`<a id="([^"]+)">`)
	fenced  = regexp.MustCompile("(?ms)^```.*?^```$")
)

// Each link from a page to a file of the project, or to a heading in one, has a target.
func TestLinks(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob(project("docs/*.md"))
	must(t, err)
	pages = append(pages, project("README.md"), project("ARCHITECTURE.md"))
	found := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		must(t, err)
		for _, to := range link.FindAllStringSubmatch(fenced.ReplaceAllString(string(text), ""), -1) {
			if strings.Contains(to[1], "://") {
				continue
			}
			found++
			if err := leads(page, to[1]); err != "" {
				t.Errorf("%s: (%s): %s", page, to[1], err)
			}
		}
	}
	if found < 50 {
		t.Errorf("only %d links", found)
	}
}

// leads returns why a link from a page has no target, or "".
func leads(page, to string) string {
	name, place, _ := strings.Cut(to, "#")
	target := page
	if name != "" {
		target = filepath.Join(filepath.Dir(page), filepath.FromSlash(name))
	}
	if _, err := os.Stat(target); err != nil {
		return "there is no such file"
	}
	if place == "" {
		return ""
	}
	text, err := os.ReadFile(target)
	if err != nil {
		return err.Error()
	}
	if !places(string(text))[place] {
		return "there is no such heading or anchor"
	}
	return ""
}

// places returns the anchors of a page: those that GitHub makes of its headings, and
// explicit ones.
func places(text string) map[string]bool {
	all := map[string]bool{}
	for _, a := range anchor.FindAllStringSubmatch(text, -1) {
		all[a[1]] = true
	}
	for _, h := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		all[slug(h[1])] = true
	}
	return all
}

// slug keeps letters, digits, underscores and hyphens, and turns spaces into hyphens.
func slug(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ' || r == '-':
			return '-'
		case r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r > 127:
			return r
		}
		return -1
	}, strings.ToLower(heading))
}
