//! Who acts. A caller is identified when a request arrives; a change happens later, and by then the key may be withdrawn.

use keygate_decision::{Digest, UnixSeconds};

use super::Refusal;
use crate::permission::Caller;
use crate::store::{Change, Connection, StoreError, caller as stored};

/// Whose credential was presented.
#[derive(Clone, Debug)]
pub(crate) enum Identity {
    /// It may pass now.
    Passes(Caller),
    /// It is known, but may not pass, or not now.
    Withdrawn(Caller),
    /// Nobody's.
    Unknown,
}

/// Looks up the digest of a credential.
pub(crate) async fn identify(connection: &mut Connection, digest: &Digest, now: UnixSeconds) -> Result<Identity, StoreError> {
    if let Some(caller) = stored::identify(connection, digest, now).await? {
        return Ok(Identity::Passes(caller));
    }
    Ok(stored::recognize(connection, digest).await?.map_or(Identity::Unknown, Identity::Withdrawn))
}

/// The caller as the change finds it. What is asked of it after this is asked of a key that may pass now.
pub(crate) async fn identify_again(change: &mut Change<'_>, caller: &Caller) -> Result<Caller, Refusal> {
    stored::identify_again(change, caller.key).await?.ok_or(Refusal::Unauthorized)
}
