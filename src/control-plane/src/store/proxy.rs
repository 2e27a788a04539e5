//! Proxies that have ever connected: a wait for a revision must cover them even while they are away.

use serde_json::json;

use super::{Change, Connection, StoreError, proxy_token, row};
use crate::push::{KnownProxy, STALENESS_LIMIT_SECONDS};

/// All known proxies.
pub(super) async fn list(connection: &mut Connection) -> Result<Vec<KnownProxy>, StoreError> {
    let rows = sqlx::query("SELECT name, staleness_limit_seconds FROM proxy ORDER BY name").fetch_all(connection).await?;
    let read = |row| {
        let name = row::text(row, "name", |name| Ok::<_, ()>(name.to_owned()))?;
        Ok(KnownProxy { name, staleness_limit_seconds: row::number(row, "staleness_limit_seconds")? })
    };
    rows.iter().map(read).collect()
}

/// Notes a proxy, or its new staleness limit.
pub(super) async fn remember(change: &mut Change<'_>, proxy: &KnownProxy) -> Result<(), StoreError> {
    let now = change.now();
    sqlx::query(
        "INSERT INTO proxy (name, staleness_limit_seconds, first_seen) VALUES ($1, $2, $3) \
         ON CONFLICT (name) DO UPDATE SET staleness_limit_seconds = excluded.staleness_limit_seconds",
    )
    .bind(&proxy.name)
    .bind(row::integer(proxy.staleness_limit_seconds))
    .bind(row::integer(now.0))
    .execute(change.connection())
    .await?;
    let detail = json!({"stalenessLimitSeconds": proxy.staleness_limit_seconds});
    change.audit("proxy.remember", format!("proxy {}", proxy.name), &detail);
    Ok(())
}

/// Notes in a restored database that nobody serves how long its proxies may go on: nobody knows what they have been told since it was
/// saved, so it is the longest limit that there is.
pub(super) async fn forget_limits(connection: &mut Connection) -> Result<(), StoreError> {
    let longest = row::integer(*STALENESS_LIMIT_SECONDS.end());
    sqlx::query("UPDATE proxy SET staleness_limit_seconds = $1").bind(longest).execute(connection).await?;
    Ok(())
}

/// Notes the same as the database knows it that is replaced, with the proxies that came since.
pub(super) async fn carry_limits(from: &mut Connection, to: &mut Connection) -> Result<(), StoreError> {
    let rows = sqlx::query_as::<_, (String, i64, i64)>("SELECT name, staleness_limit_seconds, first_seen FROM proxy");
    for (name, limit, first_seen) in rows.fetch_all(from).await? {
        sqlx::query(
            "INSERT INTO proxy (name, staleness_limit_seconds, first_seen) VALUES ($1, $2, $3) \
             ON CONFLICT (name) DO UPDATE SET staleness_limit_seconds = excluded.staleness_limit_seconds",
        )
        .bind(name)
        .bind(limit)
        .bind(first_seen)
        .execute(&mut *to)
        .await?;
    }
    Ok(())
}

/// Notes that processes of a connected proxy are waited for no longer. They are known to the push alone.
pub(crate) fn forget_former(change: &mut Change<'_>, name: &str) {
    change.audit("proxy.forget", format!("proxy {name}"), &json!({"processes": "those that cannot come back"}));
}

/// Forgets a proxy, its join tokens with it; gives their ids.
pub(crate) async fn forget(change: &mut Change<'_>, name: &str) -> Result<Vec<u64>, StoreError> {
    sqlx::query("DELETE FROM proxy WHERE name = $1").bind(name).execute(change.connection()).await?;
    let tokens = proxy_token::remove_all(change, name).await?;
    change.audit("proxy.forget", format!("proxy {name}"), &json!({"tokens": tokens}));
    Ok(tokens)
}
