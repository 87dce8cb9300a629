package kubernetes

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/enclavepool/enclavepool/docs/check/internal/tool"
)

// folder has the manifests.
var folder = filepath.Join(tool.Root, "docs/deploy/kubernetes")

// manifests are the objects of the folder, each decoded strictly: a field that the API does not know is an error.
type manifests struct {
	config     *corev1.ConfigMap
	deployment *appsv1.Deployment
	enclaves   *appsv1.DaemonSet
	policy     *networkingv1.NetworkPolicy
	budget     *policyv1.PodDisruptionBudget
	service    *corev1.Service
	monitor    *monitoringv1.ServiceMonitor
}

func load(t *testing.T) manifests {
	t.Helper()
	m := manifests{&corev1.ConfigMap{}, &appsv1.Deployment{}, &appsv1.DaemonSet{}, &networkingv1.NetworkPolicy{},
		&policyv1.PodDisruptionBudget{}, &corev1.Service{}, &monitoringv1.ServiceMonitor{}}
	into := map[string]any{}
	for _, object := range []any{m.config, m.deployment, m.enclaves, m.policy, m.budget, m.service, m.monitor} {
		into[reflect.TypeOf(object).Elem().Name()] = object
	}
	var kustomization struct{ Resources []string }
	if err := yaml.Unmarshal(read(t, "kustomization.yaml"), &kustomization); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil || len(files) != len(kustomization.Resources)+1 {
		t.Errorf("%d files (%v), of which kustomization.yaml names %v", len(files), err, kustomization.Resources)
	}
	for _, name := range kustomization.Resources {
		text := read(t, name)
		if bytes.Contains(text, []byte("\n---")) {
			t.Errorf("%s has more than one object", name)
		}
		var is metav1.TypeMeta
		if err := yaml.Unmarshal(text, &is); err != nil {
			t.Fatal(err)
		}
		object := into[is.Kind]
		if object == nil {
			t.Errorf("%s is a %q, which this test does not know, or the second one", name, is.Kind)
			continue
		}
		delete(into, is.Kind)
		if err := yaml.UnmarshalStrict(text, object); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if want := groups[is.Kind]; is.APIVersion != want {
			t.Errorf("%s: apiVersion is %s, want %s", name, is.APIVersion, want)
		}
	}
	for kind := range into {
		t.Errorf("there is no %s", kind)
	}
	if t.Failed() {
		t.FailNow()
	}
	return m
}

var groups = map[string]string{"ConfigMap": "v1", "Service": "v1", "Deployment": "apps/v1", "DaemonSet": "apps/v1",
	"NetworkPolicy": "networking.k8s.io/v1", "PodDisruptionBudget": "policy/v1", "ServiceMonitor": "monitoring.coreos.com/v1"}

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// selected tells whether every label of a selector is among the labels of something.
func selected(selector, labels map[string]string) bool {
	for name, value := range selector {
		if labels[name] != value {
			return false
		}
	}
	return len(selector) > 0
}

func TestSelectorsFindWhatTheyAreFor(t *testing.T) {
	m := load(t)
	pod := m.deployment.Spec.Template
	for what, selector := range map[string]map[string]string{
		"Deployment":          m.deployment.Spec.Selector.MatchLabels,
		"Service":             m.service.Spec.Selector,
		"PodDisruptionBudget": m.budget.Spec.Selector.MatchLabels,
		"NetworkPolicy":       m.policy.Spec.PodSelector.MatchLabels,
		"spread":              pod.Spec.TopologySpreadConstraints[0].LabelSelector.MatchLabels,
	} {
		if !selected(selector, pod.Labels) {
			t.Errorf("%s selects %v, and the pod has %v", what, selector, pod.Labels)
		}
	}
	if !selected(m.monitor.Spec.Selector.MatchLabels, m.service.Labels) {
		t.Error("the ServiceMonitor does not select the Service")
	}
	if !selected(m.enclaves.Spec.Selector.MatchLabels, m.enclaves.Spec.Template.Labels) ||
		selected(m.service.Spec.Selector, m.enclaves.Spec.Template.Labels) {
		t.Error("the enclaves are not selected by their DaemonSet, or by the gateway's Service")
	}
	ports := map[string]bool{}
	for _, p := range pod.Spec.Containers[0].Ports {
		ports[p.Name] = true
	}
	names := map[string]bool{}
	for _, p := range m.service.Spec.Ports {
		names[p.Name] = true
		if !ports[p.TargetPort.StrVal] {
			t.Errorf("the Service leads to a port %s", p.TargetPort.String())
		}
	}
	for _, e := range m.monitor.Spec.Endpoints {
		if !names[e.Port] || e.Path != "/metrics" {
			t.Errorf("the ServiceMonitor reads %s of port %s", e.Path, e.Port)
		}
	}
	for _, rule := range m.policy.Spec.Ingress {
		for _, p := range rule.Ports {
			if !ports[p.Port.StrVal] {
				t.Errorf("the NetworkPolicy speaks of a port %s", p.Port.String())
			}
		}
		if len(rule.From) == 0 || len(rule.Ports) == 0 {
			t.Error("the NetworkPolicy lets everybody in, or to every port")
		}
	}
}

func TestThePodIsAllowedNoMoreThanItNeeds(t *testing.T) {
	m := load(t)
	pod := m.deployment.Spec.Template.Spec
	c := pod.Containers[0]
	sc := c.SecurityContext
	if pod.SecurityContext.RunAsNonRoot == nil || !*pod.SecurityContext.RunAsNonRoot || *pod.SecurityContext.RunAsUser == 0 {
		t.Error("it may run as root")
	}
	if sc == nil || !*sc.ReadOnlyRootFilesystem || *sc.AllowPrivilegeEscalation || fmt.Sprint(sc.Capabilities.Drop) != "[ALL]" ||
		len(sc.Capabilities.Add) > 0 || sc.Privileged != nil || pod.HostNetwork || pod.HostPID {
		t.Errorf("security context %+v", sc)
	}
	if *pod.AutomountServiceAccountToken || *pod.EnableServiceLinks {
		t.Error("it has a token, or the names of Services in its environment")
	}
	if p := pod.SecurityContext.SeccompProfile; p.Type != corev1.SeccompProfileTypeLocalhost ||
		filepath.Base(*p.LocalhostProfile) != "seccomp-vsock.json" || !bytes.Contains(read(t, "README.md"), []byte(*p.LocalhostProfile)) {
		t.Errorf("seccomp profile %+v, which the README does not install", p)
	}
}

func TestThereIsTimeToDrain(t *testing.T) {
	m := load(t)
	pod := m.deployment.Spec.Template.Spec
	pause := pod.Containers[0].Lifecycle.PreStop.Sleep.Seconds
	drain := flagValue(t, pod.Containers[0].Args, "drain-timeout")
	if grace := float64(*pod.TerminationGracePeriodSeconds); grace <= float64(pause)+seconds(t, drain) {
		t.Errorf("%v s until the pod is killed, and it takes %d s and then up to %s", grace, pause, drain)
	}
	ready := pod.Containers[0].ReadinessProbe
	if out := ready.PeriodSeconds * ready.FailureThreshold; int64(out) > pause {
		t.Errorf("a pod that is not ready is noticed after %d s, and stops after %d", out, pause)
	}
	r := m.deployment.Spec.Strategy.RollingUpdate
	if r.MaxUnavailable.IntValue() != 0 || r.MaxSurge.IntValue() < 1 {
		t.Errorf("a rolling update takes a pod away before the next is ready: %+v", r)
	}
}
