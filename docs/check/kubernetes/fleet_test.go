package kubernetes

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/enclavepool/enclavepool/docs/check/internal/tool"
	"github.com/enclavepool/enclavepool/pool/envconfig"
)

// fleetFolder has the manifests for several hosts, with gateways that share an etcd.
var fleetFolder = filepath.Join(tool.Root, "docs/deploy/kubernetes-fleet")

// fleetManifests are the objects of that folder, decoded strictly.
type fleetManifests struct {
	config   *corev1.ConfigMap
	gateway  *appsv1.Deployment
	etcd     *appsv1.StatefulSet
	proxy    *appsv1.DaemonSet
	services map[string]*corev1.Service
	budgets  map[string]*policyv1.PodDisruptionBudget
	policies map[string]*networkingv1.NetworkPolicy
	files    int
}

func loadFleet(t *testing.T) fleetManifests {
	t.Helper()
	m := fleetManifests{services: map[string]*corev1.Service{}, budgets: map[string]*policyv1.PodDisruptionBudget{},
		policies: map[string]*networkingv1.NetworkPolicy{}}
	var kustomization struct{ Resources []string }
	readFleet(t, "kustomization.yaml", &kustomization)
	files, err := filepath.Glob(filepath.Join(fleetFolder, "*.yaml"))
	if m.files = len(kustomization.Resources); err != nil || len(files) != m.files+1 {
		t.Errorf("%d files (%v), of which kustomization.yaml names %v", len(files), err, kustomization.Resources)
	}
	for _, name := range kustomization.Resources {
		var is metav1.TypeMeta
		if err := yaml.Unmarshal(fleetText(t, name), &is); err != nil {
			t.Fatal(err)
		}
		if want := fleetGroups[is.Kind]; is.APIVersion != want {
			t.Errorf("%s: apiVersion is %s, want %s", name, is.APIVersion, want)
		}
		switch is.Kind {
		case "ConfigMap":
			m.config = strictly(t, name, &corev1.ConfigMap{})
		case "Deployment":
			m.gateway = strictly(t, name, &appsv1.Deployment{})
		case "StatefulSet":
			m.etcd = strictly(t, name, &appsv1.StatefulSet{})
		case "DaemonSet":
			m.proxy = strictly(t, name, &appsv1.DaemonSet{})
		case "Service":
			s := strictly(t, name, &corev1.Service{})
			m.services[s.Name] = s
		case "PodDisruptionBudget":
			b := strictly(t, name, &policyv1.PodDisruptionBudget{})
			m.budgets[b.Name] = b
		case "NetworkPolicy":
			p := strictly(t, name, &networkingv1.NetworkPolicy{})
			m.policies[p.Name] = p
		default:
			t.Errorf("%s is a %q, which this test does not know", name, is.Kind)
		}
	}
	if t.Failed() || m.config == nil || m.gateway == nil || m.etcd == nil || m.proxy == nil {
		t.Fatalf("%+v", m)
	}
	return m
}

var fleetGroups = map[string]string{"ConfigMap": "v1", "Service": "v1", "Deployment": "apps/v1", "StatefulSet": "apps/v1",
	"DaemonSet": "apps/v1", "NetworkPolicy": "networking.k8s.io/v1", "PodDisruptionBudget": "policy/v1"}

func fleetText(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(fleetFolder, name))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte("\n---")) {
		t.Errorf("%s has more than one object", name)
	}
	return text
}

func readFleet(t *testing.T, name string, into any) {
	t.Helper()
	if err := yaml.Unmarshal(fleetText(t, name), into); err != nil {
		t.Fatal(err)
	}
}

// strictly decodes a file; a field that the API does not know is an error.
func strictly[T any](t *testing.T, name string, into *T) *T {
	t.Helper()
	if err := yaml.UnmarshalStrict(fleetText(t, name), into); err != nil {
		t.Errorf("%s: %v", name, err)
	}
	return into
}

func TestTheFleetsSelectorsFindWhatTheyAreFor(t *testing.T) {
	m := loadFleet(t)
	for name, pod := range map[string]corev1.PodTemplateSpec{m.gateway.Name: m.gateway.Spec.Template, m.etcd.Name: m.etcd.Spec.Template} {
		service, budget, policy := m.services[name], m.budgets[name], m.policies[name]
		if service == nil || budget == nil || policy == nil {
			t.Fatalf("%s has no Service, PodDisruptionBudget or NetworkPolicy of its name", name)
		}
		for what, selector := range map[string]map[string]string{
			"Service": service.Spec.Selector, "PodDisruptionBudget": budget.Spec.Selector.MatchLabels,
			"NetworkPolicy": policy.Spec.PodSelector.MatchLabels,
			"spread":        pod.Spec.TopologySpreadConstraints[0].LabelSelector.MatchLabels,
		} {
			if !selected(selector, pod.Labels) {
				t.Errorf("%s: %s selects %v, and the pod has %v", name, what, selector, pod.Labels)
			}
		}
		ports := map[string]bool{}
		for _, p := range pod.Spec.Containers[0].Ports {
			ports[p.Name] = true
		}
		for _, p := range service.Spec.Ports {
			if !ports[p.TargetPort.StrVal] {
				t.Errorf("%s: the Service leads to a port %s", name, p.TargetPort.String())
			}
		}
		for _, rule := range policy.Spec.Ingress {
			for _, p := range rule.Ports {
				if !ports[p.Port.StrVal] {
					t.Errorf("%s: the NetworkPolicy speaks of a port %s", name, p.Port.String())
				}
			}
			if len(rule.From) == 0 || len(rule.Ports) == 0 {
				t.Errorf("%s: the NetworkPolicy lets everybody in, or to every port", name)
			}
		}
	}
	for what, selector := range map[string]map[string]string{
		"Deployment": m.gateway.Spec.Selector.MatchLabels, "StatefulSet": m.etcd.Spec.Selector.MatchLabels, "DaemonSet": m.proxy.Spec.Selector.MatchLabels,
	} {
		labels := map[string]map[string]string{"Deployment": m.gateway.Spec.Template.Labels, "StatefulSet": m.etcd.Spec.Template.Labels,
			"DaemonSet": m.proxy.Spec.Template.Labels}[what]
		if !selected(selector, labels) {
			t.Errorf("%s selects %v, and its pods have %v", what, selector, labels)
		}
	}
}

func TestTheFleetsPodsAreAllowedNoMoreThanTheyNeed(t *testing.T) {
	m := loadFleet(t)
	for name, pod := range map[string]corev1.PodSpec{"gateway": m.gateway.Spec.Template.Spec, "etcd": m.etcd.Spec.Template.Spec, "proxy": m.proxy.Spec.Template.Spec} {
		if !*pod.SecurityContext.RunAsNonRoot || *pod.AutomountServiceAccountToken || *pod.EnableServiceLinks || pod.HostNetwork || pod.HostPID ||
			pod.SecurityContext.SeccompProfile.Type == corev1.SeccompProfileTypeUnconfined {
			t.Errorf("%s: %+v", name, pod)
		}
		for _, c := range pod.Containers {
			sc := c.SecurityContext
			if sc == nil || !*sc.ReadOnlyRootFilesystem || *sc.AllowPrivilegeEscalation || fmt.Sprint(sc.Capabilities.Drop) != "[ALL]" || len(sc.Capabilities.Add) > 0 {
				t.Errorf("%s: security context %+v", name, sc)
			}
		}
	}
}

func TestTheGatewaysAskTheMembersThatThereAre(t *testing.T) {
	m := loadFleet(t)
	var members, endpoints []string
	for i := range int(*m.etcd.Spec.Replicas) {
		pod := fmt.Sprintf("%s-%d", m.etcd.Name, i)
		members = append(members, fmt.Sprintf("%s=https://%s.%s:2380", pod, pod, m.etcd.Spec.ServiceName))
		endpoints = append(endpoints, fmt.Sprintf("https://%s.%s:2379", pod, m.etcd.Spec.ServiceName))
	}
	c := m.etcd.Spec.Template.Spec.Containers[0]
	if got := etcdFlag(t, c.Args, "initial-cluster"); got != strings.Join(members, ",") {
		t.Errorf("--initial-cluster is %s, and the members are %v", got, members)
	}
	if len(members) != 3 || m.services[m.etcd.Spec.ServiceName] == nil {
		t.Errorf("%d members of the Service %s", len(members), m.etcd.Spec.ServiceName)
	}
	env := m.gateway.Spec.Template.Spec.Containers[0].Env[0]
	if want := "etcd:" + strings.Join(endpoints, ","); env.Name != "SIGNER_DIRECTORY" || env.Value != want {
		t.Errorf("%s is %s, want %s", env.Name, env.Value, want)
	}
	for _, flag := range []string{"client-cert-auth", "peer-client-cert-auth"} {
		if etcdFlag(t, c.Args, flag) != "true" {
			t.Errorf("whoever reaches the etcd may write there: --%s", flag)
		}
	}
	for _, p := range []*corev1.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
		if p.HTTPGet.Port.StrVal != "metrics" {
			t.Errorf("a probe asks port %s, which wants a certificate", p.HTTPGet.Port.String())
		}
	}
}

func etcdFlag(t *testing.T, args []string, flag string) string {
	t.Helper()
	for _, a := range args {
		if value, found := strings.CutPrefix(a, "--"+flag+"="); found {
			return value
		}
	}
	t.Fatalf("--%s is not among %v", flag, args)
	return ""
}

func TestTheFleetsEnclavesAreWhereTheProxiesListen(t *testing.T) {
	m := loadFleet(t)
	cfg, err := envconfig.Load(nil, mount(t, m.config, nil)) // an unknown name is an error
	if err != nil {
		t.Fatal(err)
	}
	cids := map[string]string{} // by port
	for _, c := range m.proxy.Spec.Template.Spec.Containers {
		port := fmt.Sprint(c.Ports[0].HostPort)
		if c.Ports[0].HostPort != c.Ports[0].ContainerPort || !strings.HasPrefix(c.Args[0], "TCP-LISTEN:"+port+",") {
			t.Errorf("%s listens on %s, and its port is %s", c.Name, c.Args[0], port)
		}
		cids[port] = c.Args[1]
	}
	for _, c := range load(t).enclaves.Spec.Template.Spec.Containers {
		if want := "VSOCK-CONNECT:" + c.Env[0].Value + ":5000"; !slices.Contains([]string{cids["5016"], cids["5017"]}, want) {
			t.Errorf("no proxy leads to enclave %s, %s: %v", c.Name, want, cids)
		}
	}
	for _, e := range cfg.Enclaves {
		if _, port, _ := strings.Cut(e.Target, ":"); cids[port] == "" {
			t.Errorf("enclave %s is at %s, and no proxy listens there", e.ID, e.Target)
		}
	}
	if len(cfg.Enclaves)%len(cids) != 0 {
		t.Errorf("%d enclaves behind %d proxies a host", len(cfg.Enclaves), len(cids))
	}
}

// The arguments are given to the real gateway, which starts though there is no etcd and says so.
func TestTheGatewayTakesTheFleetsArguments(t *testing.T) {
	m := loadFleet(t)
	c := m.gateway.Spec.Template.Spec.Containers[0]
	dir := programs(t)
	ca, cert, key := selfSigned(t, dir)
	own := map[string]string{"config": mount(t, m.config, map[string]string{"SIGNER_ENCLAVES": "a=unix:" + filepath.Join(dir, "a")}),
		"listen": "127.0.0.1:0", "http": "127.0.0.1:0", "etcd-ca": ca, "etcd-cert": cert, "etcd-key": key}
	args := slices.Clone(c.Args)
	for i, a := range args {
		flag, _, _ := strings.Cut(strings.TrimPrefix(a, "-"), "=")
		if value, found := own[flag]; found {
			args[i] = "-" + flag + "=" + value
		}
	}
	cmd := exec.Command(filepath.Join(dir, "gateway"), args...)
	cmd.Env = append(os.Environ(), "SIGNER_DIRECTORY=etcd:https://127.0.0.1:1")
	line := start(t, filepath.Join(dir, "gateway.log"), cmd)
	_, address, _ := strings.Cut(strings.TrimSpace(line), "HTTP on ")
	for _, probe := range []*corev1.Probe{c.StartupProbe, c.ReadinessProbe, c.LivenessProbe} {
		if code := answer(t, "http://"+address+probe.HTTPGet.Path); code != 200 {
			t.Errorf("%s is answered with %d", probe.HTTPGet.Path, code)
		}
	}
	if code := answer(t, "http://"+address+"/readyz"); code != 503 {
		t.Errorf("/readyz is answered with %d, and nothing of the directory is known", code)
	}
}

func TestKubectlWouldCreateTheFleet(t *testing.T) {
	m := loadFleet(t)
	s := serve(t, load(t))
	s.empty()
	out, err := kubectl(t, s, "apply", "-k", "docs/deploy/kubernetes-fleet", "--dry-run=client", "--validate=false")
	if n := strings.Count(out, "created (dry run)"); err != nil || n != m.files {
		t.Errorf("%d objects of %d: %v\n%s", n, m.files, err, out)
	}
}
