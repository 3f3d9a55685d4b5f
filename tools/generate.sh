#!/bin/sh
# Regenerates all committed generated code: protobuf, BPF objects, manifests, reference pages.
# Needs Debian's protobuf-compiler, clang-19 and llvm-19; the Go plugins come from pinned modules.
set -eu
cd "$(dirname "$0")/.."
missing=
for tool in protoc clang-19 llvm-strip-19; do
	command -v "$tool" >/dev/null || missing="$missing $tool"
done
if [ -n "$missing" ]; then
	echo "missing:$missing; on Debian: apt-get install protobuf-compiler libprotobuf-dev clang-19 llvm-19" >&2
	exit 1
fi
plugins=$(mktemp -d)
trap 'rm -rf "$plugins"' EXIT
"$GO" build -o "$plugins/protoc-gen-go" google.golang.org/protobuf/cmd/protoc-gen-go
(cd tools && "$GO" build -o "$plugins/protoc-gen-go-grpc" google.golang.org/grpc/cmd/protoc-gen-go-grpc)
export PATH="$plugins:$(dirname "$GO"):$PATH"
"$GO" generate ./internal/meshpb ./bpf
"$GO" run ./manifests/gen
"$GO" run ./docs/gen
