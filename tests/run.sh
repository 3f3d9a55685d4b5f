#!/bin/sh
# Runs the parts of the test suite that are named: unit netns kube kernels fuzz. Each prints its time; all run,
# and the first that failed decides the exit code.
set -u
cd "$(dirname "$0")/.."
code=0
PATH="$(dirname "$GO"):$PATH" # tests call go, and sudo drops it
export PATH

# The race detector needs cgo and a C compiler.
race=
if [ "$("$GO" env CGO_ENABLED)" != 1 ]; then
	echo "race detector: off, cgo is off (CGO_ENABLED=0, or no C compiler was found)"
elif ! command -v "$("$GO" env CC)" >/dev/null; then
	echo "race detector: off, no C compiler ($("$GO" env CC)); on Debian: apt-get install gcc libc6-dev"
elif [ -n "${NORACE:-}" ]; then
	echo "race detector: off, NORACE is set"
else
	race=-race
fi

root() { [ "$(id -u)" = 0 ]; }

part() { # name command...
	name=$1; shift
	skipped=
	echo "== $name"
	begin=$(date +%s)
	"$@"
	status=$?
	[ $status = 0 ] || [ $code != 0 ] || code=$status
	case $status in
	0) verdict=passed ;;
	*) verdict="failed ($status)" ;;
	esac
	[ -z "$skipped" ] || verdict="skipped: $skipped"
	echo "== $name: $verdict in $(($(date +%s) - begin)) s"
}

unit() {
	packages=$("$GO" list ./... | grep -vE '/tests/(netns|kernels)(/|$)')
	if root; then
		"$GO" test -p 2 $race $packages
		return
	fi
	# Say what was skipped and why, not only that all is well.
	log=$(mktemp)
	"$GO" test -p 2 -v $race $packages >"$log" 2>&1
	status=$?
	if [ $status = 0 ]; then grep '^ok' "$log"; else cat "$log"; fi
	echo "skipped, not being root:"
	awk '/^ *--- SKIP/ { sub(/^ *[a-z_0-9]+\.go:[0-9]+: /, "", last); n[last]++ } { last = $0 } END { for (why in n) printf "  %d tests: %s\n", n[why], why }' "$log"
	rm -f "$log"
	return $status
}

netns() {
	if ! root; then
		skipped="end-to-end tests in network namespaces need root: sudo make test"
		return 0
	fi
	# The binaries under test are built with the race detector in the long version only: it is slow.
	[ -z "${AMBIT_FULL:-}" ] || [ -z "$race" ] || export RACE=1
	"$GO" test -p 1 -count=1 -timeout 50m ./tests/netns/... || return
	# The long version has both engines; the proxy's default is the other.
	[ -z "${AMBIT_FULL:-}" ] || AMBIT_ENGINE=std "$GO" test -p 1 -count=1 -timeout 50m ./tests/netns/...
}

# The harness installs what it needs of Debian; the cluster's programs come from Go modules, about 25 minutes
# of building at the first time.
kube() {
	if ! root; then
		if [ -n "${CI:-}${AMBIT_FULL:-}" ]; then
			echo "no test in a cluster ran, and this run is to prove something: they need root" >&2
			return 1
		fi
		skipped="a cluster needs root: sudo make test-kube"
		return 0
	fi
	packages=
	for p in runc:runc nft:nftables ip:iproute2 nsenter:util-linux; do
		command -v "${p%:*}" >/dev/null || packages="$packages ${p#*:}"
	done
	if [ -n "$packages" ]; then
		apt-get update -q >/dev/null && apt-get install -yq --no-install-recommends $packages >/dev/null || return 1
	fi
	(cd tests/kube && "$GO" vet ./... && "$GO" test ./cluster/... && "$GO" test -count=1 -timeout 120m -v -run "${RUN:-.}" .)
}

kernels() {
	"$GO" test -p 1 -count=1 -timeout 60m -v ./tests/kernels/...
}

fuzz() {
	status=0
	for dir in $(git grep -l '^func Fuzz' -- '*_test.go' | xargs -n1 dirname | sort -u); do
		for target in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$dir"/*_test.go); do
			echo "-- $dir $target"
			fuzz_one "$dir" "$target" || status=1
		done
	done
	return $status
}

# Before Go 1.27 the end of the time may itself be reported as a failure, with no input that fails
# (golang/go#75804): that, and nothing else, is tried once more.
fuzz_one() { # directory target
	log=$(mktemp)
	for try in first second; do
		"$GO" test -run '^$' -fuzz "^$2\$" -fuzztime "${FUZZTIME:-20s}" "./$1" >"$log" 2>&1
		one=$?
		cat "$log"
		[ $one != 0 ] && [ $try = first ] && grep -q '^    context deadline exceeded$' "$log" &&
			! grep -q 'Failing input' "$log" || break
		echo "-- $1 $2: again, for the time's end was reported and no input that fails"
	done
	rm -f "$log"
	return $one
}

for p in "$@"; do part "$p" "$p"; done
exit $code
