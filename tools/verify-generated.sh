#!/bin/sh
# Fails when a committed generated file is not what its source generates. Works on a copy, so that the
# work tree is left as it is.
set -eu
cd "$(dirname "$0")/.."
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git ls-files -z --cached | xargs -0 sh -c 'for f; do [ -e "$f" ] && printf "%s\0" "$f"; done' _ | tar --null -T - -cf - | tar -xf - -C "$copy"
GO="$GO" sh "$copy/tools/generate.sh"
status=0
for f in $(git ls-files '*.pb.go' 'bpf/*_bpfel.*' 'docs/reference/*.md' 'manifests/*.yaml'); do
	cmp -s "$f" "$copy/$f" || { echo "$f: differs from what its source generates; run make generate" >&2; status=1; }
done
for f in $(cd "$copy" && find . -name '*.pb.go' -o -name '*_bpfel.*' -o -path './docs/reference/*.md'); do
	[ -e "$f" ] || { echo "$f: generated and not committed" >&2; status=1; }
done
exit $status
