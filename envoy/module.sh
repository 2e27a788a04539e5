#!/usr/bin/env bash
# Builds the filter's module with the compiler that envoy/setup.sh picked, and leaves it where cargo puts it:
# target/wasm32-unknown-unknown/wasm/keygate_filter.wasm
#
# `module.sh FEATURE` builds a module for tests, with a feature of the filter, and leaves it well away from the one that people run:
# target/FEATURE/wasm32-unknown-unknown/wasm/keygate_filter.wasm
set -euo pipefail
cd "$(dirname "$0")/.."

build=(build --locked --package keygate-filter --profile wasm --target wasm32-unknown-unknown)
if [ $# -gt 0 ]; then
    # What both need is built once.
    export CARGO_BUILD_BUILD_DIR=target
    build+=(--features "$1" --target-dir "target/$1")
fi
read -r toolchain _ <.tools/wasm-toolchain
case "$toolchain" in
    rustup) cargo "${build[@]}" ;;
    # Debian packages the library's source but no wasm32 build of it; -Z needs the bootstrap variable on a stable compiler.
    debian)
        RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=/usr/bin/wasm-ld \
            /usr/bin/cargo "${build[@]}" -Z build-std=std,panic_abort
        ;;
esac
