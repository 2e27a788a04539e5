//! The table that requests are judged by, wherever it comes from: shared data ([`SharedTable`]), kept in step with a control plane, or
//! the configuration itself, which is complete, never ages, and is judged by the host's clock alone.

use std::rc::Rc;

use keygate_decision::credentials::Credentials;
use keygate_decision::{Grant, Reason, UnixSeconds};
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

/// What the table holds for a credential.
pub(crate) struct Found {
    pub(crate) grant: Option<Rc<Grant>>,
    /// The moment of the monotonic clock when it was looked up, for [`Table::now`].
    pub(crate) at: u64,
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

    /// Whether requests with credentials can be judged: the table is there and fresh.
    pub(crate) fn ensure_available(&self) -> Result<(), Reason> {
        match self {
            Self::Shared(table) => table.ensure_available(),
            Self::Embedded { .. } => Ok(()),
        }
    }

    /// What the table holds for a request's credential.
    ///
    /// Errors: the reason why the request is denied whatever the table holds; the lack of a table comes before that of a credential.
    pub(crate) fn find(&self, credentials: &Credentials<'_>) -> Result<Found, Reason> {
        match self {
            Self::Shared(table) => table.find(credentials),
            // Its time needs no moment.
            Self::Embedded { table, .. } => Ok(Found { grant: table.find(&credentials.digest()?).cloned().map(Rc::new), at: 0 }),
        }
    }

    /// The time by which expiry is judged.
    pub(crate) fn now(&self, at: u64) -> UnixSeconds {
        match self {
            Self::Shared(table) => table.now(at),
            Self::Embedded { .. } => UnixSeconds(host_clock_ms() / 1000),
        }
    }
}

/// The host's clock; where it cannot be read, a time at which everything that expires has expired.
pub(crate) fn host_clock_ms() -> u64 {
    host::wall_clock_ms().unwrap_or(u64::MAX)
}
