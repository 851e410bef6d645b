package deploy

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tidemark/tidemark/tests/internal/testmain"
	"github.com/tidemark/tidemark/tests/program"
)

// tidemark is the real program.
var tidemark program.Program

func TestMain(m *testing.M) { os.Exit(testmain.WithProgram(m, &tidemark)) }

// project returns the name of a file of the project.
func project(name string) string { return filepath.Join("..", "..", filepath.FromSlash(name)) }

// read returns a file of the project.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(project(name))
	must(t, err)
	return string(text)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
