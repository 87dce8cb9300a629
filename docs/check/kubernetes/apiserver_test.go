package kubernetes

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// resources are those that the server knows, by group and version; the empty group is the core.
var resources = map[string][]metav1.APIResource{
	"v1": {{Name: "configmaps", Kind: "ConfigMap"}, {Name: "services", Kind: "Service"}, {Name: "pods", Kind: "Pod"},
		{Name: "pods/portforward", Kind: "PodPortForwardOptions"}},
	"apps/v1": {{Name: "deployments", Kind: "Deployment"}, {Name: "daemonsets", Kind: "DaemonSet"},
		{Name: "statefulsets", Kind: "StatefulSet"}},
	"policy/v1":                {{Name: "poddisruptionbudgets", Kind: "PodDisruptionBudget"}},
	"networking.k8s.io/v1":     {{Name: "networkpolicies", Kind: "NetworkPolicy"}},
	"monitoring.coreos.com/v1": {{Name: "servicemonitors", Kind: "ServiceMonitor"}},
}

// apiServer answers kubectl as far as it has to find and change the objects of the manifests, which run as one would wish.
// It stores nothing.
type apiServer struct {
	*httptest.Server
	mu      sync.Mutex
	objects map[string]runtime.Object // by path
	asked   []string                  // methods and paths
}

func serve(t *testing.T, m manifests) *apiServer {
	t.Helper()
	pod := &corev1.Pod{TypeMeta: metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"},
		ObjectMeta: metav1.ObjectMeta{Name: "signer-gateway-0", Namespace: "default", Labels: m.deployment.Spec.Template.Labels},
		Spec:       m.deployment.Spec.Template.Spec, Status: corev1.PodStatus{Phase: corev1.PodRunning}}
	running := m.deployment.DeepCopy()
	n := *running.Spec.Replicas
	running.Generation, running.Namespace = 1, "default"
	running.Status = appsv1.DeploymentStatus{ObservedGeneration: 1, Replicas: n, UpdatedReplicas: n, ReadyReplicas: n, AvailableReplicas: n}
	s := &apiServer{objects: map[string]runtime.Object{
		"/api/v1/namespaces/default/configmaps/signer-pool":                                m.config,
		"/api/v1/namespaces/default/pods/signer-gateway-0":                                 pod,
		"/apis/apps/v1/namespaces/default/deployments/signer-gateway":                      running,
		"/apis/monitoring.coreos.com/v1/namespaces/default/servicemonitors/signer-gateway": m.monitor,
	}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *apiServer) saw(request string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.asked {
		if strings.Contains(a, request) {
			return true
		}
	}
	return false
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, r.Method+" "+r.URL.Path)
	s.mu.Unlock()
	answer := discovery(r.URL.Path)
	if answer == nil {
		answer = s.find(r.URL.Path)
	}
	w.Header().Set("Content-Type", "application/json")
	if answer == nil {
		w.WriteHeader(http.StatusNotFound)
		answer = metav1.Status{TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure,
			Reason: metav1.StatusReasonNotFound, Code: http.StatusNotFound, Message: r.URL.Path + " is not found"}
	}
	_ = json.NewEncoder(w).Encode(answer) // it can only fail when the client has gone
}

// empty makes it an empty cluster.
func (s *apiServer) empty() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects = nil
}

// find returns the object of a path, or the list of those below it.
func (s *apiServer) find(p string) any {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.objects[p]; o != nil {
		return o
	}
	var items []runtime.Object
	for at, o := range s.objects {
		if path.Dir(at) == p {
			items = append(items, o)
		}
	}
	if items == nil {
		return nil
	}
	is := items[0].GetObjectKind().GroupVersionKind()
	return map[string]any{"kind": is.Kind + "List", "apiVersion": is.GroupVersion().String(),
		"metadata": map[string]string{"resourceVersion": "1"}, "items": items}
}

// discovery answers what there is to ask for.
func discovery(p string) any {
	groupVersion := strings.TrimPrefix(strings.TrimPrefix(p, "/apis/"), "/api/")
	switch list := resources[groupVersion]; {
	case p == "/api":
		return metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}}
	case p == "/apis":
		all := metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}}
		for gv := range resources {
			if group, version, found := strings.Cut(gv, "/"); found {
				v := metav1.GroupVersionForDiscovery{GroupVersion: gv, Version: version}
				all.Groups = append(all.Groups, metav1.APIGroup{Name: group, Versions: []metav1.GroupVersionForDiscovery{v}, PreferredVersion: v})
			}
		}
		return all
	case list != nil:
		answer := metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: groupVersion}
		for _, r := range list {
			r.Namespaced, r.Verbs = true, metav1.Verbs{"get", "list", "watch", "create", "patch", "update", "delete"}
			answer.APIResources = append(answer.APIResources, r)
		}
		return answer
	}
	return nil
}
