#!/usr/bin/env bash
# Builds the filter's module with the compiler that envoy/setup.sh picked, and leaves it where cargo puts it:
# target/wasm32-unknown-unknown/wasm/keygate_filter.wasm
#
# `module.sh traps` builds, beside it, the one for tests that traps on command: target/wasm32-unknown-unknown/wasm/examples/traps.wasm
# `module.sh other-layout` builds the one for tests that lays its data out otherwise, well away from the one that people run:
# target/other-layout/wasm32-unknown-unknown/wasm/keygate_filter.wasm
# `module.sh bench` builds, beside it, the ones that `make bench` compares it with.
set -euo pipefail
cd "$(dirname "$0")/.."

build=(build --locked --profile wasm --target wasm32-unknown-unknown)
read -r toolchain _ <.tools/wasm-toolchain
case "$toolchain" in
    rustup)
        cargo=(cargo)
        WASM_LINKER=$(rustc --print target-libdir)/../bin/rust-lld
        ;;
    # Debian packages the library's source but no wasm32 build of it; -Z needs the bootstrap variable on a stable compiler.
    debian)
        cargo=(env RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 /usr/bin/cargo)
        build+=(-Z build-std=std,panic_abort)
        WASM_LINKER=/usr/bin/wasm-ld
        ;;
esac
export WASM_LINKER CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$PWD/envoy/exports.sh
case "${1:-}" in
    "") build+=(--package keygate-filter) ;;
    traps) build+=(--package keygate-filter --example traps --features traps) ;;
    other-layout)
        # What both need is built once.
        export CARGO_BUILD_BUILD_DIR=target
        build+=(--package keygate-filter --features other-layout --target-dir target/other-layout)
        ;;
    # As the SDK makes them, with all its exports, and not slower for being small.
    bench)
        export CARGO_PROFILE_WASM_OPT_LEVEL=3
        build+=(--package keygate-bench-nothing --package keygate-bench-reads)
        CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$WASM_LINKER
        ;;
    *) echo "usage: $0 [traps | other-layout | bench]" >&2; exit 2 ;;
esac

# Where the sources of crates lie is a machine's own affair: the module's words begin with a crate's name, and it is the same everywhere.
# They are fetched first, for only then it is known where to; what is missing without a network is for the build to say. Flags are told
# apart by spaces.
"${cargo[@]}" fetch --quiet --locked --target wasm32-unknown-unknown || true
for sources in "${CARGO_HOME:-${HOME:-}/.cargo}"/registry/src/*/; do
    if [[ -d "$sources" && "$sources" != *[[:space:]]* ]]; then
        CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS+=" --remap-path-prefix=$sources="
    fi
done
export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS
"${cargo[@]}" "${build[@]}"
