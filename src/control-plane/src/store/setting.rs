//! Settings in storage: those that differ from their defaults. It does not ask who may do what.

use serde_json::json;

use super::{Change, Connection, StoreError, row};
use crate::model::SettingValue;
use crate::setting::{self, Known, Setting};

/// What a setting means now.
pub(crate) async fn value<T>(connection: &mut Connection, setting: &Setting<T>) -> Result<T, StoreError> {
    let set = match setting::fixed(setting.name) {
        Some(fixed) => Some(fixed.to_owned()),
        None => read(connection, setting.name).await?,
    };
    let text = set.as_deref().unwrap_or(setting.default);
    (setting.parse)(text).map_err(|_| StoreError::Damaged { column: setting.name, value: text.to_owned() })
}

/// A setting as it stands.
pub(crate) async fn find(connection: &mut Connection, known: &'static Known) -> Result<SettingValue, StoreError> {
    Ok(SettingValue { known, set: read(connection, known.name).await?, fixed: setting::fixed(known.name) })
}

/// All settings, by name.
pub(crate) async fn list(connection: &mut Connection) -> Result<Vec<SettingValue>, StoreError> {
    let mut settings = Vec::with_capacity(setting::ALL.len());
    for known in &setting::ALL {
        settings.push(find(connection, known).await?);
    }
    Ok(settings)
}

/// Gives a setting a value, or its default back.
pub(crate) async fn set(
    change: &mut Change<'_>,
    known: &'static Known,
    value: Option<String>,
) -> Result<SettingValue, StoreError> {
    let former = read(change.connection(), known.name).await?;
    let query = match &value {
        Some(value) => {
            let upsert =
                "INSERT INTO setting (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
            sqlx::query(upsert).bind(known.name).bind(value)
        }
        None => sqlx::query("DELETE FROM setting WHERE name = $1").bind(known.name),
    };
    query.execute(change.connection()).await?;
    let action = if value.is_some() { "setting.set" } else { "setting.unset" };
    change.audit(action, format!("setting {}", known.name), &json!({"value": value, "former": former}));
    Ok(SettingValue { known, set: value, fixed: setting::fixed(known.name) })
}

async fn read(connection: &mut Connection, name: &str) -> Result<Option<String>, StoreError> {
    let row = sqlx::query("SELECT value FROM setting WHERE name = $1").bind(name).fetch_optional(connection).await?;
    row.map(|row| row::text(&row, "value", |text| Ok::<_, ()>(text.to_owned()))).transpose()
}
