package kubernetes

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	strict "sigs.k8s.io/yaml"
)

// root is the project's directory.
const root = "../../.."

// manifests holds all objects of deploy/kubernetes.
type manifests struct {
	config     corev1.ConfigMap
	secret     corev1.Secret
	deployment appsv1.Deployment
	service    corev1.Service
	ingress    networkingv1.Ingress
	budget     policyv1.PodDisruptionBudget
	scaler     autoscalingv2.HorizontalPodAutoscaler
	network    networkingv1.NetworkPolicy
}

// read decodes each file strictly: an unknown or repeated field, a missing object and an
// unknown file are errors.
func read(t *testing.T) *manifests {
	t.Helper()
	m := new(manifests)
	objects := map[string]any{
		"configmap.yaml": &m.config, "secret.yaml": &m.secret, "deployment.yaml": &m.deployment, "service.yaml": &m.service,
		"ingress.yaml": &m.ingress, "poddisruptionbudget.yaml": &m.budget, "horizontalpodautoscaler.yaml": &m.scaler,
		"networkpolicy.yaml": &m.network,
	}
	files, err := filepath.Glob(root + "/deploy/kubernetes/*")
	must(t, err)
	for _, file := range files {
		name := filepath.Base(file)
		object, known := objects[name]
		if !known {
			t.Errorf("%s: nothing here looks at it", file)
			continue
		}
		delete(objects, name)
		text, err := os.ReadFile(file)
		must(t, err)
		if err := strict.UnmarshalStrict(text, object); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name := range objects {
		t.Errorf("%s is missing", name)
	}
	return m
}

// pod returns the pod template of the deployment.
func (m *manifests) pod() *corev1.PodSpec { return &m.deployment.Spec.Template.Spec }

// container returns the node's container.
func (m *manifests) container(t *testing.T) *corev1.Container {
	t.Helper()
	if n := len(m.pod().Containers); n != 1 {
		t.Fatalf("%d containers, want 1", n)
	}
	return &m.pod().Containers[0]
}

// settings returns the settings in the ConfigMap's configuration file.
func (m *manifests) settings(t *testing.T) map[string]string {
	t.Helper()
	values := map[string]string{}
	must(t, yaml.Unmarshal([]byte(m.config.Data["tidemark.yaml"]), &values))
	return values
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Each object declares the kind and version of the type that it was decoded into.
func TestKinds(t *testing.T) {
	m := read(t)
	for want, got := range map[string]metav1.TypeMeta{
		"v1 ConfigMap": m.config.TypeMeta, "v1 Secret": m.secret.TypeMeta, "apps/v1 Deployment": m.deployment.TypeMeta,
		"v1 Service": m.service.TypeMeta, "networking.k8s.io/v1 Ingress": m.ingress.TypeMeta,
		"policy/v1 PodDisruptionBudget": m.budget.TypeMeta, "autoscaling/v2 HorizontalPodAutoscaler": m.scaler.TypeMeta,
		"networking.k8s.io/v1 NetworkPolicy": m.network.TypeMeta,
	} {
		if got := got.APIVersion + " " + got.Kind; got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// Every selector of pods selects those of the deployment.
func TestSelectors(t *testing.T) {
	m := read(t)
	selectors := map[string]*metav1.LabelSelector{
		"deployment": m.deployment.Spec.Selector, "service": {MatchLabels: m.service.Spec.Selector},
		"budget": m.budget.Spec.Selector, "network policy": &m.network.Spec.PodSelector,
	}
	for i, spread := range m.pod().TopologySpreadConstraints {
		selectors[fmt.Sprint("spread ", i)] = spread.LabelSelector
	}
	if len(selectors) < 5 {
		t.Error("pods are not spread over machines")
	}
	for name, s := range selectors {
		selector, err := metav1.LabelSelectorAsSelector(s)
		if err != nil || selector.Empty() || !selector.Matches(labels.Set(m.deployment.Spec.Template.Labels)) {
			t.Errorf("%s: %v, %v does not select %v", name, selector, err, m.deployment.Spec.Template.Labels)
		}
	}
	if to := m.scaler.Spec.ScaleTargetRef; to.Kind != m.deployment.Kind || to.Name != m.deployment.Name || to.APIVersion != m.deployment.APIVersion {
		t.Errorf("the autoscaler scales %+v", to)
	}
}

// Requests are routed from the ingress to the node's port.
func TestPorts(t *testing.T) {
	m := read(t)
	named := map[string]int32{}
	for _, port := range m.container(t).Ports {
		named[port.Name] = port.ContainerPort
	}
	if listen := m.settings(t)["listen"]; !slices.Contains(slices.Collect(maps.Values(named)), portOf(listen)) {
		t.Errorf("the node listens on %s, its ports are %v", listen, named)
	}
	use := func(who string, port intstr.IntOrString) {
		t.Helper()
		if _, ok := named[port.StrVal]; !ok {
			t.Errorf("%s uses port %v, the node's are %v", who, port.String(), named)
		}
	}
	services := map[string]bool{}
	for _, port := range m.service.Spec.Ports {
		use("the service", port.TargetPort)
		services[port.Name] = true
	}
	c := m.container(t)
	for path, probe := range map[string]*corev1.Probe{"/livez": c.LivenessProbe, "/readyz": c.ReadinessProbe} {
		if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != path {
			t.Errorf("no probe asks for %s", path)
			continue
		}
		use(path, probe.HTTPGet.Port)
	}
	use("the startup probe", c.StartupProbe.HTTPGet.Port)
	for _, rule := range m.network.Spec.Ingress {
		for _, port := range rule.Ports {
			use("the network policy", *port.Port)
		}
	}
	for _, rule := range m.ingress.Spec.Rules {
		for _, path := range rule.HTTP.Paths {
			if s := path.Backend.Service; s.Name != m.service.Name || !services[s.Port.Name] {
				t.Errorf("the ingress sends to %s %v", s.Name, s.Port)
			}
		}
	}
}

func portOf(listen string) (port int32) {
	_, digits, _ := strings.Cut(listen, ":")
	_, _ = fmt.Sscan(digits, &port) // 0 is not a valid port
	return port
}

// The program knows every setting, and every file that a setting names is mounted at that
// path.
func TestSettings(t *testing.T) {
	m := read(t)
	reference, err := os.ReadFile(root + "/docs/configuration.md")
	must(t, err)
	known := func(what string) {
		t.Helper()
		if !strings.Contains(string(reference), "`"+what+"`") {
			t.Errorf("%s is no setting of docs/configuration.md", what)
		}
	}
	settings := m.settings(t)
	if len(settings) < 5 {
		t.Fatalf("settings %v", settings)
	}
	for name, value := range settings {
		known(name)
		if strings.HasPrefix(value, "/") && !m.hasFile(t, value) {
			t.Errorf("%s: nothing puts %s there", name, value)
		}
	}
	for _, env := range m.container(t).Env {
		if !strings.HasPrefix(env.Name, "TIDEMARK_") {
			continue
		}
		known(env.Name)
		if strings.HasPrefix(env.Value, "/") && !m.hasFile(t, env.Value) {
			t.Errorf("%s: nothing puts %s there", env.Name, env.Value)
		}
	}
}

// hasFile reports whether a volume has a file of that name.
func (m *manifests) hasFile(t *testing.T, name string) bool {
	files := map[string]bool{}
	for _, mount := range m.container(t).VolumeMounts {
		for _, volume := range m.pod().Volumes {
			if volume.Name != mount.Name {
				continue
			}
			for _, key := range m.keysOf(volume) {
				path := filepath.Join(mount.MountPath, key)
				if mount.SubPath == key {
					path = mount.MountPath
				}
				files[path] = true
			}
		}
	}
	return files[name]
}

// keysOf returns the names of a volume's files.
func (m *manifests) keysOf(v corev1.Volume) []string {
	switch {
	case v.ConfigMap != nil && v.ConfigMap.Name == m.config.Name:
		return slices.Collect(maps.Keys(m.config.Data))
	case v.Secret != nil && v.Secret.SecretName == m.secret.Name:
		return slices.Collect(maps.Keys(m.secret.StringData))
	}
	return nil
}

// Kubernetes waits longer for a draining node than it takes: its pause, and 22 s.
func TestGracePeriod(t *testing.T) {
	m := read(t)
	pause, err := time.ParseDuration(m.settings(t)["drain-pause"])
	must(t, err)
	grace := time.Duration(*m.pod().TerminationGracePeriodSeconds) * time.Second
	if least := pause + 32*time.Second; grace < least {
		t.Errorf("%v, want %v or more", grace, least)
	}
	probe := m.container(t).ReadinessProbe
	if notice := time.Duration(probe.PeriodSeconds*probe.FailureThreshold+probe.TimeoutSeconds) * time.Second; pause < notice {
		t.Errorf("a node that leaves goes on for %v, and it takes %v to notice that it is not ready", pause, notice)
	}
}

// A node has only the rights that it needs.
func TestRights(t *testing.T) {
	m := read(t)
	pod, c := m.pod(), m.container(t)
	for what, holds := range map[string]bool{
		"not root":            *pod.SecurityContext.RunAsNonRoot && *pod.SecurityContext.RunAsUser > 0,
		"seccomp":             pod.SecurityContext.SeccompProfile.Type == corev1.SeccompProfileTypeRuntimeDefault,
		"no account":          !*pod.AutomountServiceAccountToken,
		"no service links":    !*pod.EnableServiceLinks,
		"file system is read": *c.SecurityContext.ReadOnlyRootFilesystem,
		"no escalation":       !*c.SecurityContext.AllowPrivilegeEscalation,
		"no capabilities":     slices.Equal(c.SecurityContext.Capabilities.Drop, []corev1.Capability{"ALL"}),
		"bounded memory":      !c.Resources.Limits.Memory().IsZero(),
		"both directions":     len(m.network.Spec.PolicyTypes) == 2,
	} {
		if !holds {
			t.Errorf("%s: it is otherwise", what)
		}
	}
}

// The secrets in the file are placeholders, which a node refuses.
func TestNoSecret(t *testing.T) {
	m := read(t)
	for name, value := range m.secret.StringData {
		if len(value) >= 32 {
			t.Errorf("%s looks like one", name)
		}
	}
	if len(m.secret.StringData) == 0 || len(m.secret.Data) > 0 {
		t.Errorf("%+v", m.secret)
	}
}

// The autoscaler uses a metric that nodes have.
func TestScalesOnConnections(t *testing.T) {
	m := read(t)
	if len(m.scaler.Spec.Metrics) != 1 || m.scaler.Spec.Metrics[0].Pods == nil || m.scaler.Spec.Metrics[0].Pods.Metric.Name != "tidemark_connections" {
		t.Errorf("%+v", m.scaler.Spec.Metrics)
	}
	if least := *m.scaler.Spec.MinReplicas; least < 2 || m.budget.Spec.MaxUnavailable.IntValue() >= int(least) {
		t.Errorf("%d nodes at the least, and %s may be away", least, m.budget.Spec.MaxUnavailable)
	}
}
