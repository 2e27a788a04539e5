//! What a session is about to do for the table. It sends nothing itself.

use std::future::pending;
use std::pin::Pin;

use tokio::sync::{AcquireError, OwnedSemaphorePermit};
use tokio::time::sleep;

use super::Shared;
use super::delta::Base;
use super::snapshot::Snapshot;

/// See the module.
pub(super) enum Work {
    /// Waits for its turn to send a snapshot.
    Queue(Turn),
    /// Sends a snapshot.
    Snapshot(Snapshot),
    /// Sends deltas.
    Follow(Base),
}

type Turn = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send>>;

impl Work {
    /// A place in the queue for snapshots, joined later after each refusal in a row, so that a broken filter does not spin.
    pub(super) fn queue(shared: &Shared, refusals: usize) -> Self {
        let delays = shared.pace.after_refusals;
        let delay = refusals.checked_sub(1).and_then(|index| delays.get(index).or(delays.last())).copied();
        let snapshots = shared.snapshots.clone();
        Self::Queue(Box::pin(async move {
            if let Some(delay) = delay {
                sleep(delay).await;
            }
            snapshots.acquire_owned().await
        }))
    }

    /// Resolves when it is this session's turn to send a snapshot; never if it does not wait for that.
    ///
    /// # Errors
    /// If no snapshot can be sent any more.
    pub(super) async fn turn(&mut self) -> Result<OwnedSemaphorePermit, AcquireError> {
        match self {
            Self::Queue(turn) => turn.await,
            Self::Snapshot(_) | Self::Follow(_) => pending().await,
        }
    }
}
