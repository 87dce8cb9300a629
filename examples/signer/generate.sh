#!/bin/sh
# Regenerates examples/signer/v1/*.pb.go from signer.proto. Needs Go and its module proxy, no more.
set -eu
cd "$(dirname "$0")/.."
buf() { go run github.com/bufbuild/buf/cmd/buf@v1.75.0 "$@"; }
buf lint
buf format --write
buf generate
