//! What is done with proxies: they appear by connecting, and an admin forgets those that are gone for good.

use super::{Missing, Refusal, require};
use crate::permission::{Action, Caller};
use crate::push::{Forgotten, ProxyStatus, Publisher};
use crate::store::{Change, proxy};

/// All known proxies.
pub(crate) fn list(publisher: &Publisher, caller: &Caller) -> Result<Vec<ProxyStatus>, Refusal> {
    require(caller, Action::ManageProxies, || Missing::proxy("here"))?;
    Ok(publisher.proxies())
}

/// One of them.
pub(crate) fn find(publisher: &Publisher, caller: &Caller, name: &str) -> Result<ProxyStatus, Refusal> {
    require(caller, Action::ManageProxies, || Missing::proxy(name))?;
    let found = publisher.proxies().into_iter().find(|proxy| proxy.name == name);
    found.ok_or_else(|| Missing::proxy(name).into())
}

/// Notes that those processes of a connected proxy are to be forgotten that cannot come back; gives them. Until that is durable, waits
/// cover them: then come those to [`Publisher::forget_kept_out`]. Storage does not know them.
pub(crate) fn forget_former(
    change: &mut Change<'_>,
    publisher: &Publisher,
    caller: &Caller,
    name: &str,
) -> Result<Vec<Option<[u8; 16]>>, Refusal> {
    find(publisher, caller, name)?;
    let former = publisher.kept_out(name);
    if former.is_empty() {
        let message = format!(
            "proxy {name} has no process that nobody lets in any more beside one that is connected: there is nothing to forget of it"
        );
        return Err(Refusal::conflict("no_former_process", None, message));
    }
    proxy::forget_former(change, name);
    Ok(former)
}

/// Forgets a proxy and its join tokens in storage; gives the tokens' ids. Until that is durable, waits cover it: then comes
/// [`forgotten`].
pub(crate) async fn forget(
    change: &mut Change<'_>,
    publisher: &Publisher,
    caller: &Caller,
    name: &str,
) -> Result<Vec<u64>, Refusal> {
    require(caller, Action::ManageProxies, || Missing::proxy(name))?;
    let known = gone(publisher.unregister(name), name);
    if let Err(refusal @ Refusal::Conflict { .. }) = known {
        return Err(refusal);
    }
    let tokens = proxy::forget(change, name).await?;
    // One that never connected may have tokens, and is known by them.
    if tokens.is_empty() { known.map(|()| tokens) } else { Ok(tokens) }
}

/// Ends that waits cover a proxy that storage has forgotten, unless it has come back meanwhile; and the streams that were opened with
/// its tokens, if one has.
pub(crate) fn forgotten(publisher: &Publisher, name: &str, tokens: &[u64]) -> Result<(), Refusal> {
    publisher.revoke(name, tokens);
    match gone(publisher.forget(name), name) {
        Err(Refusal::Missing(_)) if !tokens.is_empty() => Ok(()),
        outcome => outcome,
    }
}

fn gone(forgotten: Forgotten, name: &str) -> Result<(), Refusal> {
    match forgotten {
        Forgotten::Done => Ok(()),
        Forgotten::Unknown => Err(Missing::proxy(name).into()),
        Forgotten::Connected => {
            let message = format!(
                "proxy {name} is connected and would come back at once; stop it first, or forget only those of its processes whose \
                 token is revoked or lacking (keygate proxy forget {name} --former)"
            );
            Err(Refusal::conflict("proxy_connected", None, message))
        }
    }
}

/// Asks whether the caller may learn which proxies have a revision.
pub(crate) fn may_await(caller: &Caller) -> Result<(), Refusal> {
    require(caller, Action::AwaitRevision, || Missing::proxy("here"))
}
