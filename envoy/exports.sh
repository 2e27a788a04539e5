#!/usr/bin/env bash
# The linker of the filter's module: passes what rustc says to ${WASM_LINKER}, but exports only the callbacks that the filter uses. The
# SDK exports every callback that there is, and Envoy calls each exported one on every request, into the module and out again, for
# nothing. What is not exported is then left out of the module.
set -euo pipefail

# A callback that the filter begins to use must be named here, or Envoy never calls it. proxy_on_done and proxy_on_delete are used by the
# SDK itself: without them no context is ever given back.
callbacks=" _initialize malloc proxy_abi_version_0_2_1 proxy_on_vm_start proxy_on_configure proxy_on_tick proxy_on_context_create \
proxy_on_request_headers proxy_on_request_trailers proxy_on_grpc_receive proxy_on_grpc_close proxy_on_done proxy_on_delete "

arguments=()
while [ $# -gt 0 ]; do
    case "$1" in
        --export)
            if [[ "$callbacks" = *" $2 "* ]]; then arguments+=("$1" "$2"); fi
            shift 2
            ;;
        --export=*)
            if [[ "$callbacks" = *" ${1#--export=} "* ]]; then arguments+=("$1"); fi
            shift
            ;;
        *)
            arguments+=("$1")
            shift
            ;;
    esac
done
exec "$WASM_LINKER" "${arguments[@]}"
