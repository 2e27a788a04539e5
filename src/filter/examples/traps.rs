//! The filter's very files as another module, which traps on command: for the tests alone, built by `envoy/module.sh traps` with the
//! feature `traps`. A target of its own, so that it never lies where the module lies that people run. See `src/filter/src/traps.rs`.

#[path = "../src/callbacks.rs"]
mod callbacks;
#[path = "../src/host.rs"]
mod host;
#[path = "../src/http.rs"]
mod http;
#[path = "../src/lease.rs"]
mod lease;
#[path = "../src/leftovers.rs"]
mod leftovers;
#[path = "../src/memory.rs"]
mod memory;
#[path = "../src/metrics.rs"]
mod metrics;
#[path = "../src/reply.rs"]
mod reply;
#[path = "../src/root.rs"]
mod root;
#[path = "../src/shared.rs"]
mod shared;
#[path = "../src/sync.rs"]
mod sync;
#[path = "../src/table.rs"]
mod table;
#[path = "../src/traps.rs"]
mod traps;
#[path = "../src/usage.rs"]
mod usage;
#[path = "../src/writer.rs"]
mod writer;

mod entry {
    // Contexts are made when Envoy asks for them.
    proxy_wasm::main! {{}}
}
