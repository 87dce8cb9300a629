package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// binEnv names a folder with the programs; nothing is built then.
const binEnv = "ENCLAVEPOOL_BIN"

// module is where the programs' packages are.
const module = "github.com/enclavepool/enclavepool/examples/"

// Programs are the paths of programs by their names, such as "gateway".
type Programs map[string]string

// Find finds the named programs: in the folder that ENCLAVEPOOL_BIN names or, without it, beside the running program,
// or else it builds them into dir, which say is told before, with the extra arguments for "go build". The error says
// what is missing.
func Find(ctx context.Context, dir string, say func(string), buildArgs []string, names ...string) (Programs, error) {
	if folder := os.Getenv(binEnv); folder != "" {
		found, missing := in(folder, names)
		if len(missing) > 0 {
			return nil, fmt.Errorf("%s is %s, and these programs are not in it: %s", binEnv, folder, strings.Join(missing, ", "))
		}
		return found, nil
	}
	if self, err := os.Executable(); err == nil {
		if found, missing := in(filepath.Dir(self), names); len(missing) == 0 {
			return found, nil
		}
	}
	say("building " + strings.Join(names, " and ") + " …")
	if err := build(ctx, dir, buildArgs, names); err != nil {
		return nil, fmt.Errorf("%w\nneeded: the programs %s, beside this one or in a folder named by %s, or Go and the "+
			"module %s to build them", err, strings.Join(names, ", "), binEnv, strings.TrimSuffix(module, "/"))
	}
	found, missing := in(dir, names)
	if len(missing) > 0 {
		return nil, fmt.Errorf("built, and yet not there: %s", strings.Join(missing, ", "))
	}
	return found, nil
}

// in looks for the programs in a folder.
func in(folder string, names []string) (found Programs, missing []string) {
	suffix := ""
	if runtime.GOOS == "windows" {
		suffix = ".exe"
	}
	found = make(Programs)
	for _, name := range names {
		path := filepath.Join(folder, name+suffix)
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			missing = append(missing, name)
			continue
		}
		found[name] = path
	}
	return found, missing
}

// build builds the programs; the working folder has to be in the module, which is so under "go run" and "go test".
func build(ctx context.Context, dir string, buildArgs, names []string) error {
	goTool, err := exec.LookPath("go")
	if err != nil {
		return errors.New("cannot build: there is no go command on the PATH")
	}
	args := append([]string{"build", "-o", dir + string(filepath.Separator)}, buildArgs...)
	for _, name := range names {
		args = append(args, module+name)
	}
	if out, err := exec.CommandContext(ctx, goTool, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build: %w\n%s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
