//! The filter: Envoy's host calls, and nothing else. What they mean is decided in `keygate-decision`, how it is written down in
//! `keygate-wire`.
//!
//! One request: Envoy calls ([`callbacks`]); [`http`] reads the header map ([`host`]), asks what the rules say, looks the credential up
//! ([`table`]), and either rewrites the headers or answers ([`reply`]). One change: [`sync`] decodes it, marks the write, checks the lease
//! ([`lease`]) before it writes buckets, then head, then the change detector ([`writer`]), and only then acknowledges. What a
//! former table leaves is emptied later ([`leftovers`]).
//!
//! [`table`] is one of two: the one in shared data ([`shared`]), which [`sync`] keeps in step and each worker remembers parts of
//! ([`memory`]), or the configuration's own. Which keys have passed is told to the control plane now and then ([`usage`]).
//!
//! Nothing here may panic (a trap fails every request in flight on its worker), block, or log a header's value. A configuration that
//! cannot be used denies everything: `on_configure` never returns false, because Envoy would leave that worker open.

mod callbacks;
mod host;
mod http;
mod lease;
mod leftovers;
mod memory;
mod metrics;
mod reply;
mod root;
mod shared;
mod sync;
mod table;
#[cfg(feature = "traps")]
mod traps;
mod usage;
mod writer;

mod entry {
    // Contexts are made when Envoy asks for them.
    proxy_wasm::main! {{}}
}
