//! What is done with settings. Only admins see them: they say how the machine is defended.

use super::{Missing, Refusal, require};
use crate::model::{Purpose, SettingValue};
use crate::permission::{Action, Caller};
use crate::setting::{self, CA_CERTS, KUBECONFIG_GENERATE, KUBECONFIG_TTL, Known, LOGIN_ENABLED, TOKEN_MAX_TTL};
use crate::store::{Change, Connection, login, setting as stored};

/// All settings.
pub(crate) async fn list(connection: &mut Connection, caller: &Caller) -> Result<Vec<SettingValue>, Refusal> {
    require(caller, Action::ManageSettings, || Missing::setting("here"))?;
    Ok(stored::list(connection).await?)
}

/// One setting.
pub(crate) async fn show(connection: &mut Connection, caller: &Caller, name: &str) -> Result<SettingValue, Refusal> {
    let known = find(caller, name)?;
    Ok(stored::find(connection, known).await?)
}

/// One of the settings that everybody may see, also before they have a credential: by whom the one URL is certified.
pub(crate) async fn show_open(connection: &mut Connection, name: &str) -> Result<SettingValue, Refusal> {
    let known = setting::find(name).filter(|known| known.name == CA_CERTS.name).ok_or_else(|| Missing::setting(name))?;
    Ok(stored::find(connection, known).await?)
}

/// Gives a setting a value.
pub(crate) async fn set(change: &mut Change<'_>, caller: &Caller, name: &str, value: String) -> Result<SettingValue, Refusal> {
    let known = find(caller, name)?;
    may_change(known)?;
    (known.check)(&value).map_err(|why| Refusal::invalid("value", why))?;
    if known.name == KUBECONFIG_TTL.name {
        fits(change.connection(), &value).await?;
    }
    if known.name == LOGIN_ENABLED.name {
        may_switch_logins(caller, value == "true")?;
    }
    put(change, known, Some(value)).await
}

/// Whoever switches logins off by a login could not switch them on again.
pub(crate) fn may_switch_logins(caller: &Caller, on: bool) -> Result<(), Refusal> {
    if on || caller.purpose != Purpose::Login {
        return Ok(());
    }
    let message = "with this login you could not switch logins on again; do it with a key";
    Err(Refusal::conflict("own_login", None, message))
}

/// Gives a setting its default back.
pub(crate) async fn unset(change: &mut Change<'_>, caller: &Caller, name: &str) -> Result<SettingValue, Refusal> {
    let known = find(caller, name)?;
    may_change(known)?;
    let current = stored::find(change.connection(), known).await?;
    match current.set {
        Some(_) => put(change, known, None).await,
        None => Ok(current),
    }
}

async fn put(change: &mut Change<'_>, known: &'static Known, value: Option<String>) -> Result<SettingValue, Refusal> {
    let put = stored::set(change, known, value).await?;
    if known.name == LOGIN_ENABLED.name {
        login::switched(change).await?;
    }
    Ok(put)
}

/// What the environment says nothing changes while the server runs.
fn may_change(known: &Known) -> Result<(), Refusal> {
    match (setting::fixed(known.name), known.variable) {
        (Some(_), Some(variable)) => {
            let message = format!("the server's environment sets this ({variable}); change it there and start the server again");
            Err(Refusal::conflict("set_by_environment", None, message))
        }
        _ => Ok(()),
    }
}

/// How long a token for kubectl lives is changed only where kubectl has to log in, as in Rancher, and is no longer than any token may.
async fn fits(connection: &mut Connection, value: &str) -> Result<(), Refusal> {
    if stored::value(connection, &KUBECONFIG_GENERATE).await? {
        let message = "this is not changed while kubeconfig-generate-token is true; set that to false first";
        return Err(Refusal::conflict("setting_not_used", None, message));
    }
    let wanted = (KUBECONFIG_TTL.parse)(value).map_err(|why| Refusal::invalid("value", why))?;
    match (wanted, stored::value(connection, &TOKEN_MAX_TTL).await?) {
        (_, None) => Ok(()),
        (Some(wanted), Some(most)) if wanted <= most => Ok(()),
        _ => {
            let message = "must not be more than auth-token-max-ttl-minutes, nor 0 while that is not 0";
            Err(Refusal::conflict("over_limit", Some("value"), message))
        }
    }
}

fn find(caller: &Caller, name: &str) -> Result<&'static Known, Refusal> {
    require(caller, Action::ManageSettings, || Missing::setting(name))?;
    Ok(setting::find(name).ok_or_else(|| Missing::setting(name))?)
}
