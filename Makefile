# Targets for people; CI runs test, lint and test-vsock (see .ci/run).
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
GO ?= go
MODULES := . routing/boltdir examples internal/bench docs/check

.PHONY: help
help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: go-version ## fake enclaves, gateway, load and a fault; ends by itself in under a minute
	cd examples && $(GO) run ./demo

.PHONY: demo-attest
demo-attest: go-version ## attested TLS: one fake enclave is admitted, four impostors are refused; ends by itself in seconds
	cd examples && $(GO) run ./attest

.PHONY: test
test: go-version c-compiler tools ## every test of every module, with the race detector
	# Outside the root tests start programs and read documents, whose changes Go's cache of results does not see.
	for m in $(MODULES); do (cd $$m && $(GO) test -race $$([[ $$m == . ]] || echo -count=1) ./...); done

.PHONY: test-etcd
test-etcd: go-version c-compiler ## the etcd directory against real etcd processes, of which some are killed; about five minutes
	cd routing/etcddir && $(GO) test -race -count=1 ./...

.PHONY: test-vsock
test-vsock: go-version ## transport, pool and end-to-end tests and the demo on real AF_VSOCK, in a small VM
	scripts/test-vsock.sh

.PHONY: lint
lint: go-version ## gofmt, vet, staticcheck, package borders, govulncheck where reachable
	scripts/lint.sh

.PHONY: bench
bench: go-version ## one table: admission, calls and warm streams beside other pools, raw gRPC, sockets and an atomic floor
	cd internal/bench && $(GO) run .

.PHONY: bench-scale
bench-scale: go-version ## 1 to 1000 enclaves of 16 connections: memory, start, idle cost; under three minutes, into docs/bench/scale.md
	cd internal/bench && $(GO) run . -scale ../../docs/bench

.PHONY: faults
faults: go-version ## the pool under real faults on real processes, beside what it is held to; about ten minutes
	cd examples && $(GO) run ./faults

.PHONY: faults-vsock
faults-vsock: go-version ## the same on real AF_VSOCK, in a small VM, into docs/reliability-vsock.md; about fifteen minutes
	scripts/faults-vsock.sh

.PHONY: simulate
simulate: go-version ## 200 virtual days of random faults, each from a seed; a failure names its seed
	$(GO) test ./pool -run RandomFaults -timeout 30m -v -sim.seeds 200

.PHONY: conn-pool-test
conn-pool-test: go-version ## the acceptance chain: tests, race test, examples, ghz against the gateway
	scripts/conn-pool-test.sh

DURATION ?= 60s
CALLERS ?= 500
OUT ?= $(CURDIR)/.cache/bench-report
.PHONY: bench-report
bench-report: go-version ## load, observe and report with plots; DURATION=60s CALLERS=500 OUT=folder
	cd examples && $(GO) run ./benchreport -duration $(DURATION) -callers $(CALLERS) -o $(OUT)

.PHONY: alternatives
alternatives: go-version ## other ways to reach an enclave beside the pool, steady and under faults; about eleven minutes
	cd examples && $(GO) run ./alternatives -o ../docs/comparison.md

.PHONY: proto
proto: go-version ## regenerate the examples' gRPC code
	cd examples/signer && ./generate.sh

.PHONY: tools
tools:
	@scripts/tools.sh

.PHONY: c-compiler
c-compiler:
	@command -v "$$($(GO) env CC | cut -d' ' -f1)" >/dev/null || { echo "The race detector needs a C compiler ($$($(GO) env CC)): on Debian, apt-get install gcc" >&2; exit 1; }

.PHONY: go-version
go-version:
	@command -v $(GO) >/dev/null || { echo "Go is missing: install Go 1.26 or newer from https://go.dev/dl/" >&2; exit 1; }
