#!/usr/bin/env bash
# Builds the filter's module with the compiler that envoy/setup.sh picked, and leaves it where cargo puts it:
# target/wasm32-unknown-unknown/wasm/keygate_filter.wasm
#
# `module.sh traps` builds, beside it, the one for tests that traps on command: target/wasm32-unknown-unknown/wasm/examples/traps.wasm
# `module.sh other-layout` builds the one for tests that lays its data out otherwise, well away from the one that people run:
# target/other-layout/wasm32-unknown-unknown/wasm/keygate_filter.wasm
set -euo pipefail
cd "$(dirname "$0")/.."

build=(build --locked --package keygate-filter --profile wasm --target wasm32-unknown-unknown)
case "${1:-}" in
    "") ;;
    traps) build+=(--example traps --features traps) ;;
    other-layout)
        # What both need is built once.
        export CARGO_BUILD_BUILD_DIR=target
        build+=(--features other-layout --target-dir target/other-layout)
        ;;
    *) echo "usage: $0 [traps | other-layout]" >&2; exit 2 ;;
esac
read -r toolchain _ <.tools/wasm-toolchain
case "$toolchain" in
    rustup) cargo "${build[@]}" ;;
    # Debian packages the library's source but no wasm32 build of it; -Z needs the bootstrap variable on a stable compiler.
    debian)
        RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=/usr/bin/wasm-ld \
            /usr/bin/cargo "${build[@]}" -Z build-std=std,panic_abort
        ;;
esac
