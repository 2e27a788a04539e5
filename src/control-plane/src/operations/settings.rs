//! What is done with settings. Only admins see them: they say how the machine is defended.

use super::{Missing, Refusal, require};
use crate::model::{Purpose, SettingValue};
use crate::permission::{Action, Caller};
use crate::setting::{self, Known, LOGIN_ENABLED};
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

/// Gives a setting a value.
pub(crate) async fn set(change: &mut Change<'_>, caller: &Caller, name: &str, value: String) -> Result<SettingValue, Refusal> {
    let known = find(caller, name)?;
    (known.check)(&value).map_err(|why| Refusal::invalid("value", why))?;
    // Whoever switches logins off by a login could not switch them on again.
    if known.name == LOGIN_ENABLED.name && value == "false" && caller.purpose == Purpose::Login {
        let message = "with this login you could not switch logins on again; do it with a key";
        return Err(Refusal::conflict("own_login", None, message));
    }
    put(change, known, Some(value)).await
}

/// Gives a setting its default back.
pub(crate) async fn unset(change: &mut Change<'_>, caller: &Caller, name: &str) -> Result<SettingValue, Refusal> {
    let known = find(caller, name)?;
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

fn find(caller: &Caller, name: &str) -> Result<&'static Known, Refusal> {
    require(caller, Action::ManageSettings, || Missing::setting(name))?;
    Ok(setting::find(name).ok_or_else(|| Missing::setting(name))?)
}
