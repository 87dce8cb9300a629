package kubernetes

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	corev1 "k8s.io/api/core/v1"

	"github.com/enclavepool/enclavepool/docs/check/internal/tool"
	"github.com/enclavepool/enclavepool/pool/envconfig"
)

func TestMain(m *testing.M) {
	confined() // does not return in the process that a test confines
	goleak.VerifyTestMain(m)
}

// programs builds the gateway and the fake enclave, and returns their folder.
func programs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-o", dir, "./gateway", "./enclave")
	cmd.Dir = filepath.Join(tool.Root, "examples")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	return dir
}

// start starts a program that says on its first line that it serves, and returns that line. It ends with the test.
func start(t *testing.T, log string, cmd *exec.Cmd) string {
	t.Helper()
	file, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = file
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // with the signal
		file.Close()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		text, _ := os.ReadFile(log)
		t.Fatalf("%s: %v\n%s", filepath.Base(cmd.Path), err, text)
	}
	return line
}

// mount makes a folder as Kubernetes would mount the ConfigMap, with other values for some.
func mount(t *testing.T, m *corev1.ConfigMap, others map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, value := range m.Data {
		if other, found := others[name]; found {
			value = other
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestTheConfigMapIsAConfigurationOfThePool(t *testing.T) {
	m := load(t)
	for name := range m.config.Data {
		if name != "SIGNER_ENCLAVES" && !strings.HasPrefix(name, "SIGN_CONN_POOL_") {
			t.Errorf("%s is no setting, and would be ignored", name)
		}
	}
	cfg, err := envconfig.Load(nil, mount(t, m.config, nil)) // an unknown name is an error
	if err != nil {
		t.Fatal(err)
	}
	cids := map[string]string{}
	for _, c := range m.enclaves.Spec.Template.Spec.Containers {
		if c.Resources.Limits.Name("aws.ec2.nitro/nitro_enclaves", "").String() != "1" {
			t.Errorf("enclave %s asks for no enclave device", c.Name)
		}
		cids[c.Name] = c.Env[0].Value
	}
	for _, e := range cfg.Enclaves {
		if want := fmt.Sprintf("vsock:%s:5000", cids[e.ID]); e.Target != want {
			t.Errorf("enclave %s is at %s, and enclaves.yaml starts it at %s", e.ID, e.Target, want)
		}
	}
	if len(cfg.Enclaves) != len(cids) {
		t.Errorf("%d enclaves are configured, and %d started", len(cfg.Enclaves), len(cids))
	}
}

// The arguments are given to the real gateway, but for its addresses and the folder, and the probes are asked of it.
func TestTheGatewayTakesThePodsArgumentsAndAnswersItsProbes(t *testing.T) {
	m := load(t)
	c := m.deployment.Spec.Template.Spec.Containers[0]
	if at := c.VolumeMounts[0]; at.MountPath != flagValue(t, c.Args, "config") || at.SubPath != "" || !at.ReadOnly ||
		m.deployment.Spec.Template.Spec.Volumes[0].ConfigMap.Name != m.config.Name {
		t.Errorf("the ConfigMap is not where the gateway looks: %+v", at)
	}
	ports := map[string]string{}
	for _, p := range c.Ports {
		ports[p.Name] = strconv.Itoa(int(p.ContainerPort))
	}
	for flag, port := range map[string]string{"listen": "grpc", "http": "http"} {
		if got := flagValue(t, c.Args, flag); !strings.HasSuffix(got, ":"+ports[port]) {
			t.Errorf("-%s=%s, and the port %s is %s", flag, got, port, ports[port])
		}
	}

	dir := programs(t)
	socket := filepath.Join(dir, "a")
	start(t, filepath.Join(dir, "enclave.log"), exec.Command(filepath.Join(dir, "enclave"), "-listen", "unix:"+socket))
	folder := mount(t, m.config, map[string]string{"SIGNER_ENCLAVES": "a=unix:" + socket})
	args := append([]string{}, c.Args...)
	for i, a := range args {
		for flag, value := range map[string]string{"config": folder, "listen": "127.0.0.1:0", "http": "127.0.0.1:0"} {
			if strings.HasPrefix(a, "-"+flag+"=") {
				args[i] = "-" + flag + "=" + value
			}
		}
	}
	line := start(t, filepath.Join(dir, "gateway.log"), exec.Command(filepath.Join(dir, "gateway"), args...))
	_, address, _ := strings.Cut(strings.TrimSpace(line), "HTTP on ")
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for what, probe := range map[string]*corev1.Probe{"startup": c.StartupProbe, "readiness": c.ReadinessProbe, "liveness": c.LivenessProbe} {
		if ports[probe.HTTPGet.Port.StrVal] == "" || probe.HTTPGet.Port.StrVal != "http" {
			t.Errorf("the %s probe asks port %s", what, probe.HTTPGet.Port.String())
		}
		answer := 0
		for range 500 { // until it is connected
			res, err := client.Get("http://" + address + probe.HTTPGet.Path)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			if answer = res.StatusCode; answer != http.StatusServiceUnavailable {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		if answer != http.StatusOK {
			t.Errorf("the %s probe of %s is answered with %d", what, probe.HTTPGet.Path, answer)
		}
	}
	if c.LivenessProbe.HTTPGet.Path == c.ReadinessProbe.HTTPGet.Path {
		t.Error("a gateway without an enclave would be killed")
	}
}

// flagValue is what the arguments say for a flag.
func flagValue(t *testing.T, args []string, flag string) string {
	t.Helper()
	for _, a := range args {
		if value, found := strings.CutPrefix(a, "-"+flag+"="); found {
			return value
		}
	}
	t.Fatalf("-%s is not among %v", flag, args)
	return ""
}

func seconds(t *testing.T, text string) float64 {
	t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d.Seconds()
}
