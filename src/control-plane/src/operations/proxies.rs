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

/// What is to be forgotten once storage has noted it.
#[derive(Debug)]
pub(crate) enum Former {
    /// A proxy that is gone, with these tokens.
    Proxy(Vec<u64>),
    /// Those processes of a connected one that cannot come back.
    Processes,
}

/// Forgets a proxy and its join tokens in storage; of a connected one only processes that cannot come back, which storage does not know.
/// Until that is durable, waits cover it: then comes [`forgotten`].
pub(crate) async fn forget(
    change: &mut Change<'_>,
    publisher: &Publisher,
    caller: &Caller,
    name: &str,
) -> Result<Former, Refusal> {
    require(caller, Action::ManageProxies, || Missing::proxy(name))?;
    if publisher.waits_in_vain(name) {
        proxy::forget_former(change, name);
        return Ok(Former::Processes);
    }
    let known = gone(publisher.unregister(name), name);
    if let Err(refusal @ Refusal::Conflict { .. }) = known {
        return Err(refusal);
    }
    let tokens = proxy::forget(change, name).await?;
    // One that never connected may have tokens, and is known by them.
    if tokens.is_empty() { known.map(|()| Former::Proxy(tokens)) } else { Ok(Former::Proxy(tokens)) }
}

/// Ends that waits cover a proxy that storage has forgotten, unless it has come back meanwhile; and the streams that were opened with
/// its tokens, if one has.
pub(crate) fn forgotten(publisher: &Publisher, name: &str, former: &Former) -> Result<(), Refusal> {
    let Former::Proxy(tokens) = former else {
        publisher.forget_kept_out(name);
        return Ok(());
    };
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
            let message = format!("proxy {name} is connected and would come back at once; stop it first");
            Err(Refusal::conflict("proxy_connected", None, message))
        }
    }
}

/// Asks whether the caller may learn which proxies have a revision.
pub(crate) fn may_await(caller: &Caller) -> Result<(), Refusal> {
    require(caller, Action::AwaitRevision, || Missing::proxy("here"))
}
