//! Which root context of the process may write the table. A lease in shared data elects it; whoever does not renew it in time loses
//! it to the next one that ticks. Contexts may differ in where their table comes from: while a listener drains, its former configuration
//! lives on. Whoever gets nothing from its source gives the lease up to the others for a while.

use keygate_decision::Digest;
use keygate_wire::records::{Lease, Names};
use keygate_wire::source::ControlPlane;

use crate::host::{self, HostError};

/// How long a lease holds without renewal: takeover within this time and one tick.
const LEASE_NS: u64 = 3_000_000_000;
/// For so long nobody of a source takes it which has just given it up: longer than others take to notice.
const GIVEN_UP_NS: u64 = 1_500_000_000;
/// So much of an owner tells its source, the rest one context of that from another; nothing but zeros where it was given up.
const SOURCE_LEN: usize = 8;

/// One root context's claim to the lease.
pub(crate) struct Claim {
    name: String,
    owner: [u8; 16],
}

/// The lease was held when it was last looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fence(pub(crate) u64);

impl Claim {
    /// A context's own: `owner` is random bytes.
    pub(crate) fn new(names: &Names, source: &ControlPlane, mut owner: [u8; 16]) -> Self {
        let token = source.token.as_ref().map_or("", |token| token.expose());
        let source = Digest::of(&[&source.cluster, &source.proxy, token].join("\n"));
        owner.iter_mut().zip(source.as_bytes()).take(SOURCE_LEN).for_each(|(to, from)| *to = *from);
        Self { name: names.lease(), owner }
    }

    /// Whether a lease is kept from this context, until its deadline.
    fn is_barred_by(&self, lease: &Lease) -> bool {
        let ((source, context), (own, _)) = (lease.owner.split_at(SOURCE_LEN), self.owner.split_at(SOURCE_LEN));
        context != [0; 16 - SOURCE_LEN] || source == own
    }

    /// Renews the lease, or takes it if nobody holds it. `None` while another holds it.
    pub(crate) fn acquire(&self, now_ns: u64) -> Option<Fence> {
        let shared = host::shared_data(&self.name).ok()?;
        let fence = match Lease::decode(&shared.value) {
            Some(lease) if lease.owner == self.owner && now_ns < lease.deadline_ns => lease.fence,
            Some(lease) if now_ns < lease.deadline_ns && self.is_barred_by(&lease) => return None,
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
        self.leave(fence, [0; 16], 0);
    }

    /// Gives the lease up, so that one takes over at once whose table comes from elsewhere, and any other in a while.
    pub(crate) fn give_up(&self, fence: Fence, now_ns: u64) {
        let mut source = self.owner;
        source.iter_mut().skip(SOURCE_LEN).for_each(|byte| *byte = 0);
        self.leave(fence, source, now_ns.saturating_add(GIVEN_UP_NS));
    }

    fn leave(&self, fence: Fence, owner: [u8; 16], deadline_ns: u64) {
        let Ok(shared) = host::shared_data(&self.name) else { return };
        let held = Lease::decode(&shared.value).is_some_and(|lease| lease.owner == self.owner && lease.fence == fence.0);
        if held {
            let released = Lease { owner, fence: fence.0, deadline_ns };
            // If this fails, another has taken over already, or will when the deadline passes.
            let _ = host::replace_shared_data(&self.name, &shared, &released.encode());
        }
    }
}
