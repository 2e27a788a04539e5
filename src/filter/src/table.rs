//! The table that requests are judged by, wherever it comes from: shared data ([`SharedTable`]), kept in step with a control plane, or
//! the configuration itself, which is complete, never ages, and is judged by the host's clock alone.

use keygate_decision::{Digest, Grant, Reason, UnixSeconds};
use keygate_wire::EmbeddedTable;

use crate::host;
use crate::shared::SharedTable;

/// See the module.
pub(crate) enum Table {
    Shared(SharedTable),
    Embedded {
        table: EmbeddedTable,
        /// The control plane's revision that it was exported at.
        revision: u64,
    },
}

impl Table {
    /// Re-reads since when the table ages. Called on every tick.
    pub(crate) fn refresh_clock(&self) {
        if let Self::Shared(table) = self {
            table.refresh_clock();
        }
    }

    /// The table's revision, and for how many seconds it has not been known to be the newest; `None` without one.
    pub(crate) fn state(&self, now_ns: u64) -> Option<(u64, u64)> {
        match self {
            Self::Shared(table) => table.state(now_ns),
            Self::Embedded { revision, .. } => Some((*revision, 0)),
        }
    }

    /// The moment of the monotonic clock, for [`Self::now`], if the table is there and fresh.
    pub(crate) fn available_at(&self) -> Result<u64, Reason> {
        match self {
            Self::Shared(table) => table.available_at(),
            // Its time needs none.
            Self::Embedded { .. } => Ok(0),
        }
    }

    /// What the table holds for a digest.
    pub(crate) fn find(&self, digest: &Digest) -> Result<Option<Grant>, Reason> {
        match self {
            Self::Shared(table) => table.find(digest),
            Self::Embedded { table, .. } => Ok(table.find(digest).cloned()),
        }
    }

    /// The time by which expiry is judged.
    pub(crate) fn now(&self, now_ns: u64) -> UnixSeconds {
        match self {
            Self::Shared(table) => table.now(now_ns),
            Self::Embedded { .. } => UnixSeconds(host_clock_ms() / 1000),
        }
    }
}

/// The host's clock; where it cannot be read, a time at which everything that expires has expired.
pub(crate) fn host_clock_ms() -> u64 {
    host::wall_clock_ms().unwrap_or(u64::MAX)
}
