// Package prose tests the language of the repository: Go comments, Markdown, names and
// the newest commit's subject. The rules are in rules_test.go and GLOSSARY.md.
package prose
