# Targets for people; CI runs test, lint and test-vsock (see .ci/run).
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
GO ?= go
MODULES := . examples internal/bench

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: go-version ## fake enclaves, gateway, load and a fault; ends by itself in under a minute
	cd examples && $(GO) run ./demo

.PHONY: test
test: go-version c-compiler ## every test of every module, with the race detector
	for m in $(MODULES); do (cd $$m && $(GO) test -race ./...); done

.PHONY: test-vsock
test-vsock: go-version ## transport, pool and end-to-end tests and the demo on real AF_VSOCK, in a small VM
	scripts/test-vsock.sh

.PHONY: lint
lint: go-version ## gofmt, vet, staticcheck, package borders, govulncheck where reachable
	scripts/lint.sh

.PHONY: bench
bench: go-version ## one table: admission, calls and warm streams beside other pools, raw gRPC, sockets and an atomic floor
	cd internal/bench && $(GO) run .

.PHONY: faults
faults: go-version ## the pool under real faults on real processes, beside what it is held to; about ten minutes
	cd examples && $(GO) run ./faults

.PHONY: hostile
hostile: go-version ## the pool against hostile enclaves, beside what it is held to; about six minutes
	cd examples && $(GO) run ./hostile -o ../docs/hostile-peers.md

.PHONY: fuzz
fuzz: go-version ## every fuzz target of every module for FUZZTIME (default 60s)
	scripts/fuzz.sh $(MODULES)

.PHONY: simulate
simulate: go-version ## 200 virtual days of random faults, each from a seed; a failure names its seed
	$(GO) test ./pool -run RandomFaults -timeout 30m -v -sim.seeds 200

.PHONY: conn-pool-test
conn-pool-test: go-version ## the acceptance chain: tests, race test, examples, ghz against the gateway
	scripts/conn-pool-test.sh

.PHONY: proto
proto: go-version ## regenerate the examples' gRPC code
	cd examples/signer && ./generate.sh

.PHONY: c-compiler
c-compiler:
	@command -v "$$($(GO) env CC | cut -d' ' -f1)" >/dev/null || { echo "The race detector needs a C compiler ($$($(GO) env CC)): on Debian, apt-get install gcc" >&2; exit 1; }

.PHONY: go-version
go-version:
	@command -v $(GO) >/dev/null || { echo "Go is missing: install Go 1.26 or newer from https://go.dev/dl/" >&2; exit 1; }
