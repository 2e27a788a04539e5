//! Faults between Envoy and the control plane, under load: nothing may pass that must not, and no change may be lost. `make soak` runs
//! these at length, `make test` in short, beside the faults that have no long form (tests/faults.rs).

mod changes;
mod churn;
mod cuts;
mod site;
mod snapshots;

pub use changes::Changes;
pub use churn::Churn;
pub use cuts::Cuts;
pub use site::{Site, ensure_sound, verify};
pub use snapshots::Snapshots;
