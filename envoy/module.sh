#!/usr/bin/env bash
# Builds the filter's module with the compiler that envoy/setup.sh picked, and leaves it where cargo puts it:
# target/wasm32-unknown-unknown/wasm/keygate_filter.wasm
set -euo pipefail
cd "$(dirname "$0")/.."

build=(build --locked --package keygate-filter --profile wasm --target wasm32-unknown-unknown)
export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$PWD/envoy/link.sh
read -r toolchain _ <.tools/wasm-toolchain
case "$toolchain" in
    rustup)
        WASM_LINKER=$(rustc --print target-libdir)/../bin/rust-lld cargo "${build[@]}"
        ;;
    # Debian packages the library's source but no wasm32 build of it; -Z needs the bootstrap variable on a stable compiler.
    debian)
        WASM_LINKER=/usr/bin/wasm-ld RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 /usr/bin/cargo "${build[@]}" -Z build-std=std,panic_abort
        ;;
esac
