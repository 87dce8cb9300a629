#!/usr/bin/env bash
# Runs every fuzz target of every module for a while, prints a line for each, and fails when one has found something.
# The finding is then a file under testdata/fuzz of its package: commit it with what mends it.
#
#   FUZZTIME=60s   for each target
set -euo pipefail

time=${FUZZTIME:-60s}
cd "$(dirname "$0")/.."
out=$(mktemp)
trap 'rm -f "$out"' EXIT
failed=()

# targets prints file:name of each target in a module, those of modules inside it apart.
targets() {
	cd "$1"
	local nested=()
	mapfile -t nested < <(git ls-files -- ':(glob)**/go.mod' | xargs -r -n1 dirname | grep -vx '\.')
	git ls-files -- '*_test.go' "${nested[@]/#/:!}" | xargs -r grep -HoE '^func Fuzz[A-Za-z0-9]*' | sed 's/func //'
}

for module in "${@:-.}"; do
	while IFS=: read -r file target; do
		package=./$(dirname "$file")
		if (cd "$module" && GOWORK=off go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package") >"$out" 2>&1; then
			printf 'ok    %-22s %-24s %s\n' "$target" "$module/${package#./}" "$(grep -o 'execs: [0-9]*' "$out" | tail -n1)"
		else
			failed+=("$target")
			printf 'FAIL  %s %s\n' "$target" "$module/${package#./}"
			sed 's/^/      /' "$out"
		fi
	done < <(targets "$module")
done
[[ ${#failed[@]} -eq 0 ]] || {
	echo "fuzz: FAIL: ${failed[*]}"
	exit 1
}
echo "fuzz: PASS"
