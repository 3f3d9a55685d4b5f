#!/bin/sh
# Prints the version that programs tell: the one that manifests/base names, and the commit. Tags are not in a
# commit and another clone may have others, so they are not asked: the same commit gives the same programs.
set -eu
cd "$(dirname "$0")/.."
version=$(sed -n 's|^ *app\.kubernetes\.io/version: *||p' manifests/base/kustomization.yaml)
commit=$(git describe --always --dirty --abbrev=12 --exclude '*' 2>/dev/null || echo unknown)
echo "$version-$commit"
