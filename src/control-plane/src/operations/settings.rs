//! What is done with settings. Only admins see them: they say how the machine is defended.

use super::{Missing, Refusal, require};
use crate::model::SettingValue;
use crate::permission::{Action, Caller};
use crate::setting::{self, Known};
use crate::store::{Change, Connection, setting as stored};

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
    Ok(stored::set(change, known, Some(value)).await?)
}

/// Gives a setting its default back.
pub(crate) async fn unset(change: &mut Change<'_>, caller: &Caller, name: &str) -> Result<SettingValue, Refusal> {
    let known = find(caller, name)?;
    let current = stored::find(change.connection(), known).await?;
    match current.set {
        Some(_) => Ok(stored::set(change, known, None).await?),
        None => Ok(current),
    }
}

fn find(caller: &Caller, name: &str) -> Result<&'static Known, Refusal> {
    require(caller, Action::ManageSettings, || Missing::setting(name))?;
    Ok(setting::find(name).ok_or_else(|| Missing::setting(name))?)
}
