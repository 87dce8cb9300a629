package envconfig_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/enclavepool/enclavepool/pool/envconfig"
)

// write makes a file of lines and returns its path.
func write(t *testing.T, path string, lines ...string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

const enclaveA = "SIGNER_ENCLAVES=a=vsock:16:5000"

func TestTheFileWinsOverTheEnvironmentAndEmptyIsTheDefault(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "pool.env"),
		"\ufeff# sizes", "", "SIGN_CONN_POOL_MIN=24\r", "  export SIGN_CONN_POOL_MAX = 48", "SIGN_CONN_POOL_MAX=48 # as measured",
		"SIGN_CONN_POOL_MAX_WAITERS=", "SIGN_CONN_POOL_DIAL_TIMEOUT='1s' # quoted", `SIGN_CONN_POOL_REQUEST_TIMEOUT="off"`,
		"SIGN_CONN_POOL_BACKOFF_JITTER= # none", "OTHER=1", "OTHER=$2")
	environ := []string{
		enclaveA, "SIGN_CONN_POOL_MIN=8", "SIGN_CONN_POOL_MAX_WAITERS=7", "SIGN_CONN_POOL_MAX_CONCURRENT_STREAMS=50",
		"SIGN_CONN_POOL_BACKOFF_JITTER=0.5", "=C:=C:\\", "PATH=/bin",
	}
	if _, err := envconfig.Load(environ, path); err == nil || !strings.Contains(err.Error(), path+":4: want NAME=value") {
		t.Errorf("a space before the =: %v", err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, strings.Replace(string(text), "  export SIGN_CONN_POOL_MAX = 48", "  export SIGN_CONN_POOL_ACQUIRE_TIMEOUT=1s", 1))
	cfg, err := envconfig.Load(environ, path)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.MinConns != 24 || cfg.MaxConns != 48 || cfg.MaxConcurrentStreams != 50 || cfg.MaxWaiters != 4096 ||
		cfg.DialTimeout != time.Second || cfg.RequestTimeout != 0 || cfg.Reconnect.Jitter != 0.2 || cfg.AcquireTimeout != time.Second {
		t.Errorf("%+v", cfg)
	}
	if len(cfg.Enclaves) != 1 {
		t.Errorf("enclaves of the environment: %v", cfg.Enclaves)
	}
}

func TestALaterAssignmentInTheEnvironmentWins(t *testing.T) {
	cfg, err := envconfig.Load([]string{enclaveA, "SIGNER_ENCLAVES=b=vsock:17:5000"}, "")
	if err != nil || len(cfg.Enclaves) != 1 || cfg.Enclaves[0].ID != "b" {
		t.Errorf("%v, %v", cfg.Enclaves, err)
	}
}

func TestAllProblemsAreReportedAtOnce(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "pool.env"),
		"SIGN_CONN_POOL_MIN=many", "SIGN_CONN_POOL_MIN: 3", "SIGN_CONN_POOL_KEEPALIVE_TIME=5s",
		"SIGN_CONN_POOL_KEEPALIVE_TIME=30s", "secret words of somebody", `SIGN_CONN_POOL_HEALTH_TIMEOUT="1s`, "SIGN_CONN_POOL_MXA=9", "SIGNER_ENCLAVE=x")
	_, err := envconfig.Load([]string{
		"SIGN_CONN_POOL_MAX=8", "SIGN_CONN_POOL_BACKOFF_INITIAL=1s", "SIGN_CONN_POOL_HEALTH_DISABLED=yes",
	}, path)
	checkProblems(t, "all", err, []string{
		path + ":2: want NAME=value without a space",
		`SIGN_CONN_POOL_KEEPALIVE_TIME is "30s" (` + path + `:4), want one value: line 3 has another`,
		path + ":5: want NAME=value without a space",
		`SIGN_CONN_POOL_HEALTH_TIMEOUT (` + path + `:6): want a value that ends with the quote`,
		`SIGN_CONN_POOL_MXA is "9" (` + path + `:7), want a name that is known; the nearest is SIGN_CONN_POOL_MAX`,
		`SIGNER_ENCLAVE is "x" (` + path + `:8), want a name that is known; the nearest is SIGNER_ENCLAVES`,
		`SIGN_CONN_POOL_MIN is "many" (` + path + `:1), want a whole number`,
		`SIGN_CONN_POOL_HEALTH_DISABLED is "yes" (environment), want true or false`,
		// Nothing of MAX, which is right or wrong by what MIN is.
		`SIGN_CONN_POOL_KEEPALIVE_TIME is "5s" (` + path + `:3), want 0 (off) or at least 10s`,
		`SIGN_CONN_POOL_BACKOFF_MAX is "200ms" (the default), want at least SIGN_CONN_POOL_BACKOFF_INITIAL (1s)`,
		`SIGNER_ENCLAVES: want at least one enclave, such as a=vsock:16:5000`,
	})
	var e *envconfig.Error
	if !errors.As(err, &e) {
		t.Errorf("%T is no *envconfig.Error", err)
	}
	if strings.Contains(err.Error(), "secret") {
		t.Error("a line that is not ours is repeated")
	}
}

func TestWhatDependsOnASettingNamesItsVariable(t *testing.T) {
	_, err := envconfig.Load([]string{enclaveA, "SIGN_CONN_POOL_MIN=64"}, "")
	checkProblems(t, "MIN=64", err, []string{`SIGN_CONN_POOL_MAX is "32" (the default), want SIGN_CONN_POOL_MIN (64) to 1024`})
}

// mount makes a directory as Kubernetes mounts a ConfigMap, and exchanges its
// content as Kubernetes does, by renaming a link onto the old one.
func mount(t *testing.T, dir string, content map[string]string) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	generation, err := os.MkdirTemp(dir, "..2026_")
	check(err)
	for name, value := range content {
		check(os.WriteFile(filepath.Join(generation, name), []byte(value), 0o644))
	}
	data, next := filepath.Join(dir, "..data"), filepath.Join(dir, "..data_tmp")
	old, _ := os.Readlink(data)
	check(os.Symlink(filepath.Base(generation), next))
	check(os.Rename(next, data))
	links, err := filepath.Glob(filepath.Join(dir, "[A-Za-z]*"))
	check(err)
	for _, link := range links {
		if _, there := content[filepath.Base(link)]; !there {
			check(os.Remove(link))
		}
	}
	for name := range content {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
	}
	if old != "" {
		check(os.RemoveAll(filepath.Join(dir, old)))
	}
}

func TestADirectoryHasAFileForEachVariable(t *testing.T) {
	for name, prepare := range map[string]func(dir string, content map[string]string){
		"plain": func(dir string, content map[string]string) {
			for n, v := range content {
				write(t, filepath.Join(dir, n), v)
			}
		},
		"as Kubernetes mounts it": func(dir string, content map[string]string) { mount(t, dir, content) },
	} {
		dir := t.TempDir()
		prepare(dir, map[string]string{
			"SIGNER_ENCLAVES": "a=vsock:16:5000,\n b=vsock:17:5000\n", "SIGN_CONN_POOL_MIN": "4\n", "README": "SIGN_CONN_POOL_MIN=9",
		})
		cfg, err := envconfig.Load([]string{"SIGN_CONN_POOL_MIN=8"}, dir)
		if err != nil || cfg.MinConns != 4 || len(cfg.Enclaves) != 2 {
			t.Errorf("%s: %+v, %v", name, cfg, err)
		}
		prepare(dir, map[string]string{"SIGNER_ENCLAVES": "a=vsock:16:5000", "SIGN_CONN_POOL_MIN": "0", "SIGN_CONN_POOL_MAXX": "1"})
		_, err = envconfig.Load(nil, dir)
		checkProblems(t, name, err, []string{
			`SIGN_CONN_POOL_MAXX is "1" (` + filepath.Join(dir, "SIGN_CONN_POOL_MAXX") + `), want a name that is known; the nearest is SIGN_CONN_POOL_MAX`,
			`SIGN_CONN_POOL_MIN is "0" (` + filepath.Join(dir, "SIGN_CONN_POOL_MIN") + `), want 1 to 1024`,
		})
	}
}

// The links to the files are made after the link to their generation has been
// exchanged, and left over from the one before until then.
func TestAMountedDirectoryIsReadAsOfOneGeneration(t *testing.T) {
	dir := t.TempDir()
	mount(t, dir, map[string]string{"SIGNER_ENCLAVES": "a=vsock:16:5000", "SIGN_CONN_POOL_MIN": "4"})
	if err := os.Remove(filepath.Join(dir, "SIGN_CONN_POOL_MIN")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join("..data", "SIGN_CONN_POOL_MAX"), filepath.Join(dir, "SIGN_CONN_POOL_MAX")); err != nil {
		t.Fatal(err)
	}
	cfg, err := envconfig.Load(nil, dir)
	if err != nil || cfg.MinConns != 4 {
		t.Errorf("%+v, %v", cfg, err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "..data")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("..data", filepath.Join(dir, "..data")); err != nil { // a loop
		t.Fatal(err)
	}
	if _, err := envconfig.Load(nil, dir); err == nil {
		t.Error("a mount that leads nowhere is read")
	}
}

func TestAFileThatCannotBeReadIsAnError(t *testing.T) {
	dir := t.TempDir()
	if _, err := envconfig.Load([]string{enclaveA}, filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
	most := write(t, filepath.Join(dir, "most"), "# "+strings.Repeat("x", 1<<20-2))
	if _, err := envconfig.Load([]string{enclaveA}, most); err != nil {
		t.Errorf("as big as it may be: %v", err)
	}
	big := write(t, filepath.Join(dir, "big"), "# "+strings.Repeat("x", 1<<20-1))
	if _, err := envconfig.Load([]string{enclaveA}, big); err == nil || !strings.Contains(err.Error(), "1048576") {
		t.Errorf("too big: %v", err)
	}
	if _, err := envconfig.Load([]string{enclaveA}, os.DevNull); err == nil || !strings.Contains(err.Error(), "regular") {
		t.Errorf("a device: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "SIGN_CONN_POOL_MIN"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := envconfig.Load([]string{enclaveA}, dir); err == nil || !strings.Contains(err.Error(), "regular") {
		t.Errorf("a directory for a value: %v", err)
	}
}

func TestTheProcessEnvironmentIsWhereItIsReadFrom(t *testing.T) {
	t.Setenv("SIGNER_ENCLAVES", "a=vsock:16:5000;weight=3")
	t.Setenv("SIGN_CONN_POOL_MIN", "5")
	cfg, err := envconfig.FromEnviron()
	if err != nil || cfg.MinConns != 5 || cfg.Enclaves[0].Weight != 3 {
		t.Errorf("%+v, %v", cfg, err)
	}
	cfg, err = envconfig.FromFile(write(t, filepath.Join(t.TempDir(), "pool.env"), "SIGN_CONN_POOL_MIN=6"))
	if err != nil || cfg.MinConns != 6 || cfg.Enclaves[0].Weight != 3 {
		t.Errorf("%+v, %v", cfg, err)
	}
}
