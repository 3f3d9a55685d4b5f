#!/bin/sh
# Prints the path of a Go toolchain. sudo drops PATH, so the usual places and the invoking user's own
# PATH are searched too.
set -u
usable() { [ -n "$1" ] && [ -x "$1" ] && "$1" version >/dev/null 2>&1; }

found=$(command -v go 2>/dev/null || true)
usable "$found" && { echo "$found"; exit 0; }

home=
if [ -n "${SUDO_USER:-}" ]; then
	home=$(getent passwd "$SUDO_USER" | cut -d: -f6)
	found=$(su - "$SUDO_USER" -c 'command -v go' 2>/dev/null </dev/null | tail -n 1)
	usable "$found" && { echo "$found"; exit 0; }
fi
for dir in /usr/local/go/bin /usr/lib/go/bin /usr/lib/go-*/bin /snap/bin /opt/go/bin "${home:-/nonexistent}/go/bin" "${home:-/nonexistent}/sdk"/go*/bin "${home:-/nonexistent}/.local/go/bin"; do
	usable "$dir/go" && { echo "$dir/go"; exit 0; }
done
echo "Go was not found in PATH ($PATH), in /usr/local/go/bin or in the PATH of the user behind sudo. Install Go 1.26 or newer (https://go.dev/dl), or say where it is: make GO=/path/to/go" >&2
exit 1
