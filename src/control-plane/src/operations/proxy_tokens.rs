//! What is done with join tokens, by which proxies prove their names. One that is revoked never works again.

use keygate_wire::JoinToken;

use super::{Missing, Refusal, require};
use crate::model::{ProxyToken, TokenState};
use crate::name::{Description, ProxyName};
use crate::permission::{Action, Caller};
use crate::store::{Change, Connection, proxy_token};

/// Makes a token of this text for a proxy, which need not be known yet. Only the digest is stored. From now on the name needs a token.
pub(crate) async fn create(
    change: &mut Change<'_>,
    caller: &Caller,
    proxy: ProxyName,
    description: Option<Description>,
    token: &JoinToken,
) -> Result<ProxyToken, Refusal> {
    require(caller, Action::ManageProxies, || Missing::proxy(proxy.as_str()))?;
    Ok(proxy_token::create(change, proxy, description, &token.digest()).await?)
}

/// All tokens, or those of one proxy.
pub(crate) async fn list(
    connection: &mut Connection,
    caller: &Caller,
    proxy: Option<ProxyName>,
) -> Result<Vec<ProxyToken>, Refusal> {
    require(caller, Action::ManageProxies, || Missing::proxy_token("here"))?;
    Ok(proxy_token::list(connection, proxy.as_ref()).await?)
}

/// Stops a token, and gives whose it is unless it was stopped already. Once that is durable, the streams that were opened with it have to
/// be ended.
pub(crate) async fn revoke(change: &mut Change<'_>, caller: &Caller, id: u64) -> Result<Option<ProxyName>, Refusal> {
    let missing = || Missing::proxy_token(id);
    require(caller, Action::ManageProxies, missing)?;
    let token = proxy_token::find(change.connection(), id).await?.ok_or_else(missing)?;
    match token.state {
        TokenState::Active => {
            proxy_token::revoke(change, &token).await?;
            Ok(Some(token.proxy))
        }
        TokenState::Revoked => Ok(None),
    }
}
