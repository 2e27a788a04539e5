//! Which root context of the process may write the table. A lease in shared data elects it; whoever does not renew it in time loses
//! it to the next one that ticks.

use keygate_wire::records::{Lease, Names};

use crate::host::{self, HostError};

/// How long a lease holds without renewal: takeover within this time and one tick.
const LEASE_NS: u64 = 3_000_000_000;

/// One root context's claim to the lease.
pub(crate) struct Claim {
    name: String,
    owner: [u8; 16],
}

/// The lease was held when it was last looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fence(pub(crate) u64);

impl Claim {
    pub(crate) fn new(names: &Names, owner: [u8; 16]) -> Self {
        Self { name: names.lease(), owner }
    }

    /// Renews the lease, or takes it if nobody holds it. `None` while another holds it.
    pub(crate) fn acquire(&self, now_ns: u64) -> Option<Fence> {
        let shared = host::shared_data(&self.name).ok()?;
        let fence = match Lease::decode(&shared.value) {
            Some(lease) if lease.owner == self.owner && now_ns < lease.deadline_ns => lease.fence,
            Some(lease) if now_ns < lease.deadline_ns => return None,
            Some(lease) => lease.fence.checked_add(1)?,
            None => 1,
        };
        let lease = Lease { owner: self.owner, fence, deadline_ns: now_ns.saturating_add(LEASE_NS) };
        host::replace_shared_data(&self.name, &shared, &lease.encode()).ok()?;
        Some(Fence(fence))
    }

    /// Whether the lease is still held under this fence.
    pub(crate) fn holds(&self, fence: Fence) -> Result<bool, HostError> {
        let shared = host::shared_data(&self.name)?;
        let now_ns = host::monotonic_ns()?;
        Ok(Lease::decode(&shared.value)
            .is_some_and(|lease| lease.owner == self.owner && lease.fence == fence.0 && now_ns < lease.deadline_ns))
    }

    /// Gives the lease up, so that another takes over at once.
    pub(crate) fn release(&self, fence: Fence) {
        let Ok(shared) = host::shared_data(&self.name) else { return };
        let held = Lease::decode(&shared.value).is_some_and(|lease| lease.owner == self.owner && lease.fence == fence.0);
        if held {
            let released = Lease { owner: [0; 16], fence: fence.0, deadline_ns: 0 };
            // If this fails, another has taken over already, or will when the deadline passes.
            let _ = host::replace_shared_data(&self.name, &shared, &released.encode());
        }
    }
}
