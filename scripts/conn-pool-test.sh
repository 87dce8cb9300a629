#!/usr/bin/env bash
# The acceptance chain: the package tests, the race test, the examples' tests, golangci-lint where it is installed, and
# a ghz run against the gateway's Sign and SignStream that fails on any error, and on any connection that an enclave
# accepts while it lasts.
#
#   CALLS=5000 CALLERS=50 scripts/conn-pool-test.sh     how much load (these are the defaults)
#   scripts/conn-pool-test.sh ghz                       the last step alone
set -euo pipefail

calls=${CALLS:-5000}
callers=${CALLERS:-50}
ghz_version=v0.93.0

root=$(cd "$(dirname "$0")/.." && pwd)
tools=$root/.cache/tools
work=$(mktemp -d)
started=()
cleanup() {
	[[ ${#started[@]} -eq 0 ]] || kill "${started[@]}" 2>/dev/null || true # one may have ended by itself
	wait
	rm -rf "$work"
}
trap cleanup EXIT

say() { printf '\nconn-pool-test: %s\n' "$*"; }
fail() {
	printf 'conn-pool-test: FAIL: %s\n' "$*" >&2
	exit 1
}

# await COMMAND… runs it until it succeeds, for ten seconds.
await() {
	for _ in $(seq 100); do
		if "$@" >/dev/null 2>&1; then
			return
		fi
		sleep 0.1
	done
	fail "never succeeded: $*"
}

# accepted prints how many connections an enclave has accepted so far.
accepted() { curl -sf --unix-socket "$work/$1.ctl" http://enclave/stats | tr ',{}' '\n\n\n' | sed -n 's/^ *"connections_accepted": *\([0-9]*\).*/\1/p'; }

# load CALL DATA runs ghz and checks that every call was answered with OK.
load() {
	local out=$work/ghz.txt
	"$tools/ghz" --insecure --call "signer.v1.SignerService.$1" -d "$2" -c "$callers" -n "$calls" "unix://$work/gateway.sock" | tee "$out"
	grep -Eq "\[OK\] +$calls responses" "$out" || fail "$1: not every one of $calls calls was answered with OK"
}

if [[ ${1:-} != ghz ]]; then
	say "package tests, examples' tests"
	(cd "$root" && go test ./...)
	(cd "$root/examples" && go test ./...)
	say "TestConnPoolRace"
	(cd "$root" && go test -race -count=1 -run '^TestConnPoolRace$' ./pool)
	if command -v golangci-lint >/dev/null; then
		say "golangci-lint"
		(cd "$root" && golangci-lint run ./...)
	else
		say "golangci-lint is not installed, left out"
	fi
fi

say "ghz $ghz_version against the gateway"
command -v curl >/dev/null || fail "curl is missing: install it"
[[ -x $tools/ghz ]] || GOBIN=$tools go install "github.com/bojand/ghz/cmd/ghz@$ghz_version"
(cd "$root/examples" && go build -o "$work/" ./enclave ./gateway)

for id in a b; do
	"$work/enclave" -listen "unix:$work/$id.sock" -control "unix:$work/$id.ctl" >"$work/$id.log" 2>&1 &
	started+=($!)
	await test -S "$work/$id.ctl"
done
"$work/gateway" -enclaves "a=unix:$work/a.sock,b=unix:$work/b.sock" -listen "unix:$work/gateway.sock" \
	-http "unix:$work/http.sock" >"$work/gateway.log" 2>&1 &
started+=($!)
await curl -sf --unix-socket "$work/http.sock" http://gateway/readyz
key=$(curl -sf --unix-socket "$work/http.sock" -H 'Content-Type: application/json' -d '{"key_id":"acceptance"}' http://gateway/v1/keys) ||
	fail "no key could be created"
say "key: $key"

before="$(accepted a) $(accepted b)"
[[ $before =~ ^[0-9]+\ [0-9]+$ ]] || fail "the enclaves do not say how many connections they have accepted: '$before'"
digest=$(head -c 32 /dev/zero | base64)
load Sign "{\"key_id\":\"acceptance\",\"digest\":\"$digest\"}"
one="{\"sign\":{\"key_id\":\"acceptance\",\"digest\":\"$digest\"}}"
load SignStream "[$one,$one,$one]"
after="$(accepted a) $(accepted b)"
[[ $before == "$after" ]] || fail "connections accepted by the enclaves went from $before to $after during the run"
say "PASS: no errors, no connection opened during the run ($after accepted before it)"
