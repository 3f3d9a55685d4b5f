#!/bin/sh
# Formatting, go vet and golangci-lint (pinned in tools/go.mod, configured in .golangci.yml).
set -eu
cd "$(dirname "$0")/.."
unformatted=$("$(dirname "$GO")/gofmt" -l $(git ls-files '*.go'))
[ -z "$unformatted" ] || { echo "not gofmt'ed:" "$unformatted" >&2; exit 1; }
"$GO" vet ./...
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
(cd tools && "$GO" build -o "$bin/golangci-lint" github.com/golangci/golangci-lint/v2/cmd/golangci-lint)
PATH="$(dirname "$GO"):$PATH" "$bin/golangci-lint" run ./...
