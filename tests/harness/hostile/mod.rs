//! What a hostile client, operator or control plane may send, and what must never come of it: the bodies of the fuzz targets, the
//! generator of spellings and the views of an upstream. A body that panics has found something.
//!
//! The fuzz targets in tests/fuzz include this folder as it is, so it depends on nothing but the crates that it attacks.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a body that panics has found something")]

// What must be kept apart, and how it would show that it is not.
pub mod border;
// The paths that upstreams may take a path for.
pub mod views;

// Requests around the border, by the million.
mod random;
pub mod spelling;

// What the fuzz targets do with their bytes.
mod configuration;
mod cookies;
mod credentials;
mod paths;
mod query;
mod sync;

pub use configuration::configuration;
pub use cookies::cookies;
pub use credentials::credentials;
pub use paths::paths;
pub use query::query;
pub use random::Random;
pub use sync::sync;

/// The body of a fuzz target.
pub type Body = fn(&[u8]);

/// Every fuzz target's name and body.
pub const BODIES: [(&str, Body); 6] = [
    ("configuration", configuration),
    ("cookies", cookies),
    ("credentials", credentials),
    ("paths", paths),
    ("query", query),
    ("sync", sync),
];
