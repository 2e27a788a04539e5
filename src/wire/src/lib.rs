//! Every format that crosses a boundary: the filter's configuration, the messages between filter and control plane, and the layout
//! of the table in Envoy's shared data.
//!
//! This crate turns bytes into the types of `keygate-decision` and back. It performs no I/O and decides nothing; what it
//! cannot read it refuses, naming the field, and never repairs.

pub mod bucket;
pub mod config;
pub mod echo;
pub mod embedded;
pub mod entry;
pub mod json;
pub mod preset;
pub mod records;
mod rule;
pub mod source;
pub mod status;
pub mod sync;
pub mod token;
pub mod usage;

pub use bucket::{BucketBits, BucketIndex};
pub use config::{FilterConfig, InvalidConfig};
pub use embedded::EmbeddedTable;
pub use source::Source;
pub use token::JoinToken;

/// The version of everything that one filter leaves in shared data for another to read. A filter of another layout uses other
/// names, so that old and new may run side by side in one Envoy.
pub const LAYOUT: u32 = if cfg!(feature = "other-layout") { u32::MAX } else { 2 };

/// The version of what [`bucket`] and [`entry`] lay out and [`sync`] carries. A control plane and a filter of different formats do not
/// understand each other; of different layouts they do. Since 2 messages name what was heard, on which filters count.
pub const FORMAT: u32 = 2;
