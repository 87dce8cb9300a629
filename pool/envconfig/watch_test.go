package envconfig_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/enclavepool/enclavepool/pool/envconfig"
)

func TestTheFileIsAppliedAtTheStartAndWhenItHasChanged(t *testing.T) {
	bubble(t, func(t *testing.T, silent envconfig.Option) {
		w, stop := start(t, size(16), silent, envconfig.WithLogger(nil))
		synctest.Wait()
		w.expect(t, "start", "[16]", "configuration applied", "trigger=start", w.path)
		pass(time.Hour)
		w.expect(t, "an hour without a change", "[]")

		write(t, w.path, size(24))
		pass(3 * time.Second)
		w.expect(t, "a change", "[24]", "configuration applied", "file changed")

		write(t, w.path, size(16))
		stop()
		pass(time.Minute)
		w.expect(t, "after the end", "[]")
	})
}

func TestABurstOfChangesIsAppliedOnce(t *testing.T) {
	bubble(t, func(t *testing.T, silent envconfig.Option) {
		w, _ := start(t, size(16), silent)
		pass(time.Second / 2)
		w.taken()
		for n := 1; n <= 40; n++ { // ten seconds long, never the same for a second
			write(t, w.path, size(n%16+1))
			pass(time.Second / 4)
		}
		w.expect(t, "during the burst", "[]")
		write(t, w.path, size(7))
		pass(time.Minute)
		w.expect(t, "after it", "[7]", "file changed")
	})
}

func TestAChangeThatIsTakenBackAtOnceIsNone(t *testing.T) {
	bubble(t, func(t *testing.T, silent envconfig.Option) {
		w, _ := start(t, size(16), silent)
		pass(time.Second / 2)
		w.taken()
		write(t, w.path, "") // as an editor does before it writes
		pass(time.Second)
		write(t, w.path, size(16))
		pass(time.Minute)
		w.expect(t, "taken back", "[]")
	})
}

func TestABadFileChangesNothingAndSaysWhy(t *testing.T) {
	bubble(t, func(t *testing.T, silent envconfig.Option) {
		w, _ := start(t, size(16), silent)
		synctest.Wait()
		w.taken()
		write(t, w.path, size(0)+"SIGN_CONN_POOL_MXA=1\n")
		pass(time.Minute)
		_, logged := w.taken()
		if n := strings.Count(logged, "\n"); n != 1 {
			t.Errorf("logged %d times", n)
		}
		for _, word := range []string{"level=ERROR", "configuration rejected", "SIGN_CONN_POOL_MIN is", "want 1 to 1024", "SIGN_CONN_POOL_MAX"} {
			if !strings.Contains(logged, word) {
				t.Errorf("%s\nsays nothing of %s", logged, word)
			}
		}
		write(t, w.path, size(9))
		pass(time.Minute)
		w.expect(t, "corrected", "[9]", "configuration applied")

		w.mu.Lock()
		w.refuse = errors.New("pool closed")
		w.mu.Unlock()
		write(t, w.path, size(10))
		pass(time.Minute)
		w.expect(t, "refused", "[]", "configuration rejected", "pool closed")
	})
}

func TestTheFileMayGoAwayAndComeBack(t *testing.T) {
	bubble(t, func(t *testing.T, silent envconfig.Option) {
		w, _ := start(t, size(16), silent)
		synctest.Wait()
		w.taken()
		for n, content := range map[string]string{"[]": size(16), "[12]": size(12)} {
			write(t, w.path, size(16))
			pass(time.Minute)
			w.taken()
			if err := os.RemoveAll(w.dir); err != nil { // its directory too
				t.Fatal(err)
			}
			pass(time.Hour)
			_, logged := w.taken()
			if strings.Count(logged, "cannot be read") != 1 || strings.Count(logged, "\n") != 1 {
				t.Errorf("while it is away:\n%s", logged)
			}
			if err := os.Mkdir(w.dir, 0o755); err != nil {
				t.Fatal(err)
			}
			write(t, w.path, content)
			pass(time.Minute)
			w.expect(t, "back", n, "can be read again")
		}
	})
}

func TestAFileThatIsNotThereAtTheStartIsWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T, silent envconfig.Option) {
		w := &watched{dir: t.TempDir()}
		path := filepath.Join(w.dir, "pool.env")
		w.watch(t, path, w.apply, silent)
		synctest.Wait()
		w.expect(t, "missing", "[]", "cannot be read", "no such file")
		pass(time.Minute)
		w.expect(t, "still missing", "[]")
		write(t, path, size(3))
		pass(time.Minute)
		w.expect(t, "there", "[3]", "can be read again", "file changed")
	})
}

func TestWhetherTheFileIsInEffectIsTold(t *testing.T) {
	bubble(t, func(t *testing.T, silent envconfig.Option) {
		told := make(chan error, 10)
		w, _ := start(t, size(16), silent, envconfig.WithResult(func(err error) { told <- err }))
		expect := func(what string, want ...bool) {
			t.Helper()
			pass(time.Minute)
			for _, well := range want {
				if err := <-told; (err == nil) != well {
					t.Errorf("%s: told %v", what, err)
				}
			}
			if len(told) > 0 {
				t.Errorf("%s: told more: %v", what, <-told)
			}
		}
		away := func() {
			t.Helper()
			if err := os.Remove(w.path); err != nil {
				t.Fatal(err)
			}
		}
		expect("at the start", true)
		away()
		expect("away", false)
		write(t, w.path, size(16))
		expect("back as it was", true)
		write(t, w.path, size(99))
		expect("not valid", false)
		away()
		expect("away", false)
		write(t, w.path, size(99))
		expect("back, as wrong as it was", false)
		write(t, w.path, size(8))
		expect("valid", true)
	})
}

func TestALinkExchangedAsKubernetesDoesIsFollowed(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs symbolic links")
	}
	for name, in := range map[string]func(dir string) string{
		"a file":    func(dir string) string { return filepath.Join(dir, "pool.env") },
		"all of it": func(dir string) string { return dir },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T, silent envconfig.Option) {
				w := &watched{dir: t.TempDir()}
				exchange := func(n int) {
					mount(t, w.dir, map[string]string{
						"pool.env": size(n), "SIGNER_ENCLAVES": "a=vsock:16:5000", "SIGN_CONN_POOL_MIN": fmt.Sprint(n),
					})
				}
				exchange(16)
				w.watch(t, in(w.dir), w.apply, silent)
				synctest.Wait()
				w.expect(t, "start", "[16]", "trigger=start")
				for _, n := range []int{24, 8, 16} {
					exchange(n)
					pass(3 * time.Second)
					w.expect(t, "exchanged", fmt.Sprint([]int{n}), "configuration applied")
				}
			})
		})
	}
}

func TestWithoutAnIntervalOnlyTheStartAndSignalsCount(t *testing.T) {
	bubble(t, func(t *testing.T, silent envconfig.Option) {
		w, _ := start(t, size(16), silent, envconfig.WithInterval(0))
		synctest.Wait()
		w.taken()
		write(t, w.path, size(4))
		pass(time.Hour)
		w.expect(t, "no interval", "[]")
	})
}
