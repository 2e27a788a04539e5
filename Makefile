# What people and CI call. `make` lists the targets; each of them brings what it needs by itself (envoy/setup.sh).

SHELL := /bin/bash
.DEFAULT_GOAL := help
export PATH := $(CURDIR)/.tools/bin:$(PATH)
# What is built is looked for here, wherever a person's other projects are built.
export CARGO_TARGET_DIR := $(CURDIR)/target

# The demo's ports, all on 127.0.0.1: make run EDGE_PORT=10001
export EDGE_PORT ?= 10000
export ADMIN_PORT ?= 9901
export HTTP_PORT ?= 8080
export SYNC_PORT ?= 8081

# How long `make fuzz` runs each target.
SECONDS ?= 60

MODULE := target/wasm32-unknown-unknown/wasm/keygate_filter.wasm
BINARY := target/release/keygate

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: run
run: setup wasm ## start everything on this machine until Ctrl-C, and print curl lines to try
	@cargo build --locked
	@exec target/debug/demo

.PHONY: test
test: setup wasm ## run every test, those in real Envoy included
	@envoy/setup.sh clients
	@envoy/module.sh traps
	@envoy/module.sh other-layout
	@cargo build --locked
	@cargo test --workspace --exclude keygate-filter --locked

# The variables reach the program as they are given to make.
.PHONY: soak
soak: build ## a million hostile requests, hundreds of faults, an API tester (REQUESTS= CUTS= KEYS= CHANGES= API_SECONDS=; SEED= for the same)
	@envoy/setup.sh clients
	@cargo run --release --locked --package keygate-tests --bin soak

# BENCH=--quick only shows that it works; BENCH=--ten-million also measures ten million keys. What it finds is left in tests/bench, or, of
# parts (BENCH="instructions growth" and so on), in var/bench.
.PHONY: bench
bench: build ## measure speed and scale beside the alternatives, in a quarter of an hour (BENCH=--quick)
	@envoy/setup.sh bench
	@envoy/module.sh bench
	@cargo build --release --locked --package keygate-tests --bin bench
	@target/release/bench $(BENCH)

# Stable Rust will do without a sanitizer: safe Rust needs none. What is found new stays in var/fuzz, what fails in tests/fuzz/artifacts:
# once it is fixed, it belongs into tests/fuzz/corpus, which `make test` replays.
.PHONY: fuzz
fuzz: setup ## let a fuzzer try every target in tests/fuzz for a minute (SECONDS=)
	@cargo fuzz --version >/dev/null 2>&1 || { echo "cargo-fuzz is missing: cargo install --locked cargo-fuzz"; exit 1; }
	@c++ --version >/dev/null 2>&1 || { echo "a C++ compiler is missing, libFuzzer needs one: apt-get install g++"; exit 1; }
	@cargo fetch --quiet --locked --manifest-path tests/fuzz/Cargo.toml
	@for target in $(basename $(notdir $(wildcard tests/fuzz/targets/*.rs))); do \
		mkdir -p var/fuzz/$$target; \
		cargo fuzz run --fuzz-dir tests/fuzz --target-dir target/fuzz --sanitizer none $$target var/fuzz/$$target tests/fuzz/corpus/$$target -- \
			-max_total_time=$(SECONDS) -verbosity=0 -print_final_stats=1 || exit 1; \
	done

.PHONY: build
build: setup wasm ## build what people deploy: the release binary and the module
	@cargo build --release --locked --package keygate

.PHONY: wasm
wasm: setup ## build the filter's module
	@envoy/module.sh

# The fuzzers have a lock file of their own: what the crates gain belongs into it, too, which fetching finds out.
.PHONY: lint
lint: ## check format, lints and the paths that the documents name; show sizes
	@envoy/setup.sh lint
	@cargo fmt --all --check
	@cargo fmt --check --manifest-path tests/fuzz/Cargo.toml
	@cargo fetch --quiet --locked --manifest-path tests/fuzz/Cargo.toml
	@cargo clippy --workspace --all-targets --locked -- --deny warnings
	@cargo clippy --package keygate-filter --all-targets --all-features --locked -- --deny warnings
	@$(MAKE) --no-print-directory doc-paths sizes

# Every path in backticks in a document, below a folder that is in git, exists.
.PHONY: doc-paths
doc-paths:
	@missing=0; \
	for path in $$(grep -ohE '`(src|envoy|tests|\.ci)/[A-Za-z0-9_./-]*`' *.md | tr -d '`' | sort -u); do \
		[ -e "$$path" ] || { echo "the documents name $$path, which does not exist"; missing=1; }; \
	done; exit $$missing

.PHONY: sizes
sizes: build
	@crates=$$(cargo tree --locked --package keygate --edges normal,build --prefix none --no-dedupe --format '{p}' | sort -u | wc -l); \
	echo "crates in keygate  $$crates (aim: 300)"; \
	echo "keygate            $$(stat -c %s $(BINARY) | awk '{ printf "%.1f MB", $$1 / 1e6 }') (aim: 20 MB)"; \
	echo "the module         $$(stat -c %s $(MODULE) | awk '{ printf "%.0f kB", $$1 / 1e3 }') (at most 250 kB)"

.PHONY: deny
deny: ## check licences, banned crates and sources of all dependencies
	@cargo deny --version >/dev/null 2>&1 || { echo "cargo-deny is missing: cargo install --locked cargo-deny"; exit 1; }
	@cargo deny --locked check --hide-inclusion-graph licenses bans sources

.PHONY: setup
setup: ## bring compilers and Envoy, only what is missing (the others call it)
	@envoy/setup.sh

.PHONY: clean-demo
clean-demo: ## forget the demo's data and keys
	@[ ! -e var/demo/data/lock ] || flock --nonblock var/demo/data/lock true || \
		{ echo "the demo is running: stop it first"; exit 1; }
	@rm -rf var/demo var/demo.env
