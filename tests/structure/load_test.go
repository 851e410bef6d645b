package structure

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/tools/go/packages"
)

// module is the prefix of every import path of this module.
const module = "github.com/tidemark/tidemark/"

// load parses and type-checks all packages of the module, without their tests.
var load = sync.OnceValues(func() ([]*packages.Package, error) {
	return packages.Load(&packages.Config{
		// Without NeedDeps, imported packages come from the build cache as export data.
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedImports | packages.NeedExportFile |
			packages.NeedSyntax | packages.NeedTypes | packages.NeedTypesInfo,
		Dir: filepath.Join("..", ".."),
		Env: append(os.Environ(), "CGO_ENABLED=0"), // no C compiler needed
	}, "./...")
})

// modulePackages returns all packages of the module and fails the test if one does
// not compile.
func modulePackages(t *testing.T) []*packages.Package {
	t.Helper()
	pkgs, err := load()
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range pkgs {
		for _, err := range pkg.Errors {
			t.Fatalf("%s: %v", pkg.PkgPath, err)
		}
		// Opening the directory makes go test run again instead of using a cached
		// result after a file was added.
		if len(pkg.GoFiles) > 0 {
			if _, err := os.ReadDir(filepath.Dir(pkg.GoFiles[0])); err != nil {
				t.Fatal(err)
			}
		}
	}
	return pkgs
}

// short is the path of a package inside the module, such as "streams/redislog".
func short(path string) string { return strings.TrimPrefix(path, module) }
