package deploy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/tidemark/tidemark/tests/program"
)

// A node starts with the settings in the ConfigMap once the secrets exist, and refuses the
// placeholders of the manifests. (The module in tests/deploy/kubernetes checks that the
// manifests are valid.)
func TestConfigMap(t *testing.T) {
	t.Parallel()
	var config struct{ Data map[string]string }
	var secret struct {
		StringData map[string]string `yaml:"stringData"`
	}
	must(t, yaml.Unmarshal([]byte(read(t, "deploy/kubernetes/configmap.yaml")), &config))
	must(t, yaml.Unmarshal([]byte(read(t, "deploy/kubernetes/secret.yaml")), &secret))
	dir := t.TempDir()
	text := strings.ReplaceAll(config.Data["tidemark.yaml"], "/etc/tidemark/secrets", dir)
	if text == config.Data["tidemark.yaml"] || len(secret.StringData) == 0 {
		t.Fatalf("no secrets, or no use of them:\n%s", text)
	}
	file := filepath.Join(dir, "tidemark.yaml")
	must(t, os.WriteFile(file, []byte(text), 0o600))
	for name, shown := range secret.StringData {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(shown), 0o600))
	}
	_, stderr, code := tidemark.Run(t, program.Options{}, "config", "check", "--config", file)
	if code != 2 || !strings.Contains(stderr, "at least 32") {
		t.Errorf("with the secrets shown: exit code %d, want 2:\n%s", code, stderr)
	}
	for name := range secret.StringData {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(strings.Repeat("s", 32)), 0o600))
	}
	tidemark.Must(t, program.Options{}, "config", "check", "--config", file)
}
