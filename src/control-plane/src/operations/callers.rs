//! Who acts. A caller is identified when a request arrives; a change happens later, and by then the key may be withdrawn.

use super::Refusal;
use crate::permission::Caller;
use crate::store::{Change, key};

/// The caller as the change finds it. What is asked of it after this is asked of a key that may pass now.
pub(crate) async fn identify_again(change: &mut Change<'_>, caller: &Caller) -> Result<Caller, Refusal> {
    key::identify_again(change, caller.key).await?.ok_or(Refusal::Unauthorized)
}
