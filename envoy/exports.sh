#!/usr/bin/env bash
# The linker of the filter's module: passes what rustc says to ${WASM_LINKER}, but exports only the callbacks that the filter uses. The
# SDK exports every callback that there is, and Envoy calls each exported one on every request, into the module and out again, for
# nothing. What is not exported is then left out of the module.
set -euo pipefail

# A callback that the filter begins to use must be named here, or Envoy never calls it. proxy_on_done is left out because Envoy would
# call it for each request; proxy_on_delete, which follows it, does for both.
exports=" _initialize malloc proxy_abi_version_0_2_1 entry_on_vm_start entry_on_configure entry_on_tick entry_on_context_create \
entry_on_request_headers entry_on_request_trailers entry_on_grpc_receive entry_on_grpc_close entry_on_delete "

arguments=()
output=
while [ $# -gt 0 ]; do
    case "$1" in
        --export)
            if [[ "$exports" = *" $2 "* ]]; then arguments+=("$1" "$2"); fi
            shift 2
            ;;
        --export=*)
            if [[ "$exports" = *" ${1#--export=} "* ]]; then arguments+=("$1"); fi
            shift
            ;;
        -o)
            output=$2
            arguments+=("$1" "$2")
            shift 2
            ;;
        *)
            arguments+=("$1")
            shift
            ;;
    esac
done
# Relocated numbers are five bytes long each unless the linker is told to shorten them.
"$WASM_LINKER" "${arguments[@]}" --compress-relocations

# Binaryen takes another twentieth off. Without it the module does the same, and is only larger. Behind what makes it quicker comes what
# spells it shorter: constants that occur often are named once, and what is named often gets a short number.
if command -v wasm-opt >/dev/null; then
    wasm-opt -O3 -Oz --const-hoisting --reorder-locals --reorder-functions \
        --enable-bulk-memory --enable-multivalue --enable-mutable-globals --enable-nontrapping-float-to-int \
        --enable-reference-types --enable-sign-ext "$output" -o "$output"
fi

# The callbacks are the filter's own (src/filter/src/callbacks.rs), but no two functions of a program can have one name, and the SDK's
# have the names that Envoy calls. As long as both names are of one length, nothing else in the file moves.
LC_ALL=C sed -i 's/entry_on_/proxy_on_/g' "$output"
