# shellcheck shell=bash
# What each package may know of the others, checked on the import graph. Sourced by lint.sh.

module_path=$(GOWORK=off go list -m)

# no_match PATTERN WHAT fails, naming the offenders, when a line of its input matches.
no_match() {
	local found
	found=$(grep -E -- "$1") || return 0
	printf '%s:\n%s\n' "$2" "$found"
	return 1
}

# Read from the text of every file, so that build tags hide nothing.
balancer_only_in_lb() {
	local import='^[[:space:]]*(import[[:space:]]+)?([[:alnum:]_.]+[[:space:]]+)?"google\.golang\.org/grpc/balancer["/]'
	local sources
	mapfile -t sources < <(files '*.go' ':!internal/lb/' ':!internal/bench/gcp.go')
	{ grep -EHn "$import" /dev/null "${sources[@]}" || [[ $? -eq 1 ]]; } |
		no_match . "gRPC's balancer API is experimental: only internal/lb may import it"
}

# forbid PACKAGES PATTERN [-test] fails when a package of the root module under ./PACKAGES depends on something that
# matches, directly or not, on any platform; with -test its tests count too.
forbid() {
	local os wrong=0 packages=./$1/... pattern=$2
	shift 2
	if [[ -z $(GOWORK=off go list "$packages" 2>/dev/null) ]]; then
		echo "$packages: no such package, so there is nothing to check"
		return 1
	fi
	for os in linux darwin windows; do
		GOWORK=off GOOS=$os go list -deps "$@" -f '{{.ImportPath}}' "$packages" | sed 's/ .*//' | sort -u |
			no_match "$pattern" "$packages depends on what it must not know ($os)" || wrong=1
	done
	return $wrong
}

# It reads settings for a pool and judges none: of ours it imports pool, and nothing of others. Nobody else of the
# library knows that there is an environment.
envconfig_border() {
	local us=$module_path wrong=0
	GOWORK=off go list -f '{{join .Imports "\n"}}' ./pool/envconfig | grep -vx "$us/pool" |
		no_match '\.' "pool/envconfig imports what it must not know" || wrong=1
	GOWORK=off go list -f '{{$p := .ImportPath}}{{range .Imports}}{{$p}} imports {{.}}{{"\n"}}{{end}}' ./... |
		no_match " imports $us/pool/envconfig$" "pool/envconfig is for programs, not for the library" || wrong=1
	return $wrong
}

# The page is for programs that serve HTTP: nobody else of the library knows of it, and no other package of ours imports
# net/http. (gRPC does, so the graph of dependencies cannot tell.)
statuspage_border() {
	local us=$module_path wrong=0
	GOWORK=off go list -f '{{join .Imports "\n"}}' ./pool/statuspage | grep -vxE "$us/(pool|breaker)" |
		no_match '\.' "pool/statuspage imports what it must not know" || wrong=1
	GOWORK=off go list -f '{{$p := .ImportPath}}{{range .Imports}}{{$p}} imports {{.}}{{"\n"}}{{end}}' ./... |
		grep -v "^$us/pool/statuspage imports" |
		no_match " imports (net/http|$us/pool/statuspage)$" "net/http and pool/statuspage are for programs, not for the library" || wrong=1
	return $wrong
}

package_borders() {
	local us=$module_path wrong=0
	local grpc='^google\.golang\.org/grpc(/|$)'
	for leaf in breaker health reconnect routing; do
		forbid "$leaf" "$grpc" -test || wrong=1
	done
	forbid breaker "^$us/(health|reconnect|routing|pool|internal/(lb|target|h2tap))(/|$)" || wrong=1
	forbid health "^$us/(reconnect|routing|pool|internal/(lb|target|h2tap))(/|$)" || wrong=1
	forbid reconnect "^$us/(breaker|health|routing|pool|internal/(lb|target|h2tap))(/|$)" || wrong=1
	forbid routing "^$us/(health|reconnect|pool|internal/(lb|target|h2tap))(/|$)" || wrong=1
	forbid internal/lb "^$us/pool(/|$)" || wrong=1
	forbid internal/target "$grpc" || wrong=1
	forbid internal/h2tap "^$us/pool(/|$)" || wrong=1
	envconfig_border || wrong=1
	statuspage_border || wrong=1
	directory_borders || wrong=1
	return $wrong
}

# Placement directories are modules of their own, and know of ours no more than routing does.
directory_borders() {
	local us=$module_path wrong=0
	for module in boltdir etcddir; do
		(cd "routing/$module" && GOWORK=off go list -deps -test -f '{{.ImportPath}}' ./...) | sed 's/ .*//' | sort -u |
			no_match "^$us/(pool|health|reconnect|internal|examples)(/|$)" "routing/$module depends on what it must not know" || wrong=1
	done
	return $wrong
}

# Heavy dependencies belong to the modules of their own (examples, benchmarks); test tools stay in tests.
root_dependencies() {
	local wrong=0
	# From the file itself: asking the go command would need every module's sum before it says a word.
	go mod edit -print | awk '/^require \(/ { in_block = 1; next } /^\)/ { in_block = 0 }
		!/\/\/ indirect/ && (in_block || $1 == "require") { print }' | no_match 'prometheus|/ghz|grpc-gcp|puddle|etcd|bbolt' \
		"go.mod of the root module requires directly" || wrong=1
	GOWORK=off go list -deps -f '{{.ImportPath}}' ./... |
		no_match '^(go\.opentelemetry\.io/otel/sdk|go\.uber\.org/goleak|pgregory\.net/rapid)(/|$)' \
			"for tests only, and imported by code that is not a test" || wrong=1
	return $wrong
}
