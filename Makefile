# Everything is built, tried and tested from here. `make` lists the targets.
SHELL := /bin/sh
.SHELLFLAGS := -eu -c
MAKEFLAGS += --warn-undefined-variables --no-print-directory
.DEFAULT_GOAL := help
.PHONY: help build demo test test-full test-kernels test-kube fuzz lint generate verify-generated manifests images bench soak clean go-is-there

ifndef GO
GO := $(shell sh tools/find-go.sh)
endif
export GO
VERSION ?= $(shell sh tools/version.sh)
PROGRAMS := $(patsubst cmd/%/main.go,%,$(wildcard cmd/*/main.go))
SUDO_UID ?=
SUDO_GID ?=
ONCE ?=
QUICK ?=
ROUNDS ?=
FUZZTIME ?= 20s
RUN ?=
DURATION ?= 1h
ENGINE ?= loop
export ONCE QUICK FUZZTIME RUN

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' Makefile

# Static binaries: they run on any Linux, in any container, in any namespace. Without its trace pages, gRPC lets
# the linker drop a third of the controller.
build: go-is-there ## build the static binaries into bin/
	@mkdir -p bin
	@for p in $(PROGRAMS); do \
		echo "building bin/$$p"; \
		CGO_ENABLED=0 "$(GO)" build -trimpath -buildvcs=false -tags grpcnotrace -ldflags '-s -w -X github.com/ambitmesh/ambit/internal/version.linked=$(VERSION)' -o bin/$$p ./cmd/$$p; \
	done
	@[ -z "$(SUDO_UID)" ] || chown -R "$(SUDO_UID):$(SUDO_GID)" bin

demo: build ## build, then try a mesh of two nodes on this machine (root; ONCE=1 ends after the walk)
	@bin/ambit demo $(if $(ONCE),--once)

test: go-is-there ## unit tests, and end-to-end tests in network namespaces (root)
	@sh tests/run.sh unit netns

test-full: images ## make test in its long version, a Kubernetes, the kernels, and each fuzz target for FUZZTIME
	@AMBIT_FULL=1 sh tests/run.sh unit netns kube kernels fuzz

test-kernels: go-is-there ## the BPF programs on Debian's 6.1 and 6.12 kernels under qemu
	@sh tests/run.sh kernels

test-kube: images ## install the mesh in a real Kubernetes on this machine (root; RUN=TestSmoke for one test)
	@sh tests/run.sh kube

fuzz: go-is-there ## run each fuzz target for FUZZTIME (20s)
	@sh tests/run.sh fuzz

lint: go-is-there ## gofmt, go vet and golangci-lint
	@sh tools/lint.sh

generate: go-is-there ## regenerate protobuf code, BPF objects, manifests and reference pages
	@sh tools/generate.sh

verify-generated: go-is-there ## check that committed generated files are what their sources give
	@sh tools/verify-generated.sh

manifests: go-is-there ## regenerate manifests/ambit.yaml from manifests/base, and crds.yaml
	@PATH="$(dir $(GO)):$$PATH" "$(GO)" run ./manifests/gen

images: go-is-there ## write container images into dist/images/ (for ctr images import); needs no container engine
	@PATH="$(dir $(GO)):$$PATH" VERSION="$(VERSION)" "$(GO)" run ./manifests/images

bench: build ## measure the mesh, no mesh, relays and other proxies; write docs/performance (root; QUICK=1, ROUNDS=5)
	@mkdir -p dist/bench
	@"$(GO)" build -o dist/bench/bench ./tests/bench
	@dist/bench/bench $(if $(QUICK),--quick) $(if $(ROUNDS),--rounds $(ROUNDS)) --out dist/bench

soak: build ## churn a mesh of two nodes for DURATION (1h) and look for growth (root; ENGINE=loop)
	@mkdir -p dist/soak
	@"$(GO)" build -o dist/soak/soak ./tests/soak
	@dist/soak/soak --duration $(DURATION) --engine $(ENGINE)

clean: ## remove what was built
	@rm -rf bin dist

go-is-there:
	@[ -n "$(GO)" ] || { echo "no Go toolchain: see the message above" >&2; exit 1; }
