#!/usr/bin/env bash
# Formatting, vet, staticcheck, golangci-lint (where installed), known vulnerabilities, the structure of the
# repository and the cross-compiles. Runs every check, prints one line for each, and fails when one of them failed.
#
#   ENCLAVEPOOL_LINT_VULN=required   fail when the vulnerability database cannot be asked (default: say so and go on)
#   GOVULNDB=https://…               another vulnerability database
set -euo pipefail

staticcheck=honnef.co/go/tools/cmd/staticcheck@v0.8.2
govulncheck=golang.org/x/vuln/cmd/govulncheck@v1.9.0
vulndb=${GOVULNDB:-https://vuln.go.dev}

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
tools=$root/.cache/tools
mkdir -p "$tools"
out=$(mktemp)
trap 'rm -f "$out"' EXIT
# shellcheck source=scripts/lint/structure.sh
. scripts/lint/structure.sh
# shellcheck source=scripts/lint/vulnerabilities.sh
. scripts/lint/vulnerabilities.sh

failures=()
# check NAME COMMAND… runs a command, prints its verdict, and its output when it failed.
check() {
	local name=$1 began=$SECONDS
	shift
	if "$@" >"$out" 2>&1; then
		if grep -q 'not checked' "$out"; then
			printf -- '--    %s (%ds)\n' "$name" $((SECONDS - began))
			sed 's/^/      /' "$out"
		else
			printf 'ok    %s (%ds)\n' "$name" $((SECONDS - began))
		fi
	else
		failures+=("$name")
		printf 'FAIL  %s (%ds)\n' "$name" $((SECONDS - began))
		sed 's/^/      /' "$out"
	fi
}

# in_module runs a command in a module's folder, not in a workspace.
in_module() {
	local module=$1
	shift
	(cd "$module" && GOWORK=off "$@")
}

# files prints what git tracks or would track and is still there, by pathspec.
files() {
	git ls-files -z --cached --others --exclude-standard -- "$@" | while IFS= read -r -d '' file; do
		[[ ! -f $file ]] || printf '%s\n' "$file"
	done | sort -u
}

formatted() {
	local wrong
	wrong=$(files '*.go' ':!*.pb.go' | tr '\n' '\0' | xargs -0 -r gofmt -l) || return
	[[ -z $wrong ]] || {
		printf 'not formatted by gofmt:\n%s\n' "$wrong"
		return 1
	}
}

# tool installs a tool once, and prints its path: unlike "go run" it keeps the tool's own exit status.
tool() {
	local path=$tools/${1##*/}
	if [[ ! -x $path ]]; then
		local dir
		dir=$(mktemp -d "$tools/new.XXXXXX")
		(cd / && GOFLAGS='' GOBIN=$dir go install "$1") >&2 || return
		mv "$dir"/* "$path"
		rmdir "$dir"
	fi
	printf '%s\n' "$path"
}

run_tool() { # run_tool MODULE TOOL ARGUMENTS…
	local module=$1 path
	path=$(tool "$2") || return
	shift 2
	in_module "$module" "$path" "$@"
}

check "gofmt" formatted
mapfile -t modules < <(files ':(glob)**/go.mod' | xargs -r -n1 dirname)
[[ ${#modules[@]} -gt 0 ]] || {
	echo "lint: no go.mod found" >&2
	exit 1
}
for module in "${modules[@]}"; do
	check "go vet, module $module" in_module "$module" go vet ./...
	check "staticcheck, module $module" run_tool "$module" "$staticcheck" ./...
	if command -v golangci-lint >/dev/null; then
		check "golangci-lint, module $module" in_module "$module" golangci-lint run
	fi
	check "govulncheck, module $module" vulnerabilities "$module"
done
command -v golangci-lint >/dev/null || echo "--    golangci-lint: not installed, not checked"

check "structure: grpc/balancer only in internal/lb" balancer_only_in_lb
check "structure: what each package may know" package_borders
check "structure: dependencies of the root module" root_dependencies
for platform in darwin/arm64 windows/amd64 linux/arm64; do
	check "build for $platform" in_module . env GOOS="${platform%/*}" GOARCH="${platform#*/}" go build ./...
done

if [[ ${#failures[@]} -gt 0 ]]; then
	printf 'lint: FAIL, failed checks: %d\n' "${#failures[@]}"
	printf '  %s\n' "${failures[@]}"
	exit 1
fi
echo "lint: PASS"
