//! The hashes of passwords in storage. It does not ask who may do what, and never sees a password.

use keygate_decision::AccountId;
use serde_json::json;

use super::{Change, Connection, StoreError, account, row};
use crate::login::PasswordDigest;
use crate::model::Account;

/// The hash of an account's password, if it has one.
pub(crate) async fn find(connection: &mut Connection, account: AccountId) -> Result<Option<PasswordDigest>, StoreError> {
    let query = sqlx::query("SELECT hash FROM password WHERE account = $1").bind(row::integer(account.0));
    // A hash that is damaged must not reach the log with the error.
    let parse = |text: &str| PasswordDigest::parse(text);
    match query.fetch_optional(connection).await? {
        Some(row) => row::text(&row, "hash", parse).map(Some).map_err(|error| match error {
            StoreError::Damaged { column, .. } => StoreError::Damaged { column, value: "a hash".to_owned() },
            other => other,
        }),
        None => Ok(None),
    }
}

/// The accounts that have a password, or this one, if it has.
pub(crate) async fn holders(connection: &mut Connection, only: Option<AccountId>) -> Result<Vec<Account>, StoreError> {
    let query = sqlx::query(
        "SELECT a.* FROM account a JOIN password p ON p.account = a.id \
         WHERE a.state <> 'removed' AND ($1 IS NULL OR a.id = $1) ORDER BY a.id",
    );
    let rows = query.bind(only.map(|id| row::integer(id.0))).fetch_all(connection).await?;
    rows.iter().map(account::read).collect()
}

/// Gives an account a password, its first or another one; `ended` logins were ended with it.
pub(crate) async fn set(
    change: &mut Change<'_>,
    account: &Account,
    digest: &PasswordDigest,
    ended: usize,
) -> Result<(), StoreError> {
    let now = change.now();
    sqlx::query(
        "INSERT INTO password (account, hash, changed) VALUES ($1, $2, $3) \
         ON CONFLICT (account) DO UPDATE SET hash = excluded.hash, changed = excluded.changed",
    )
    .bind(row::integer(account.id.0))
    .bind(digest.as_str())
    .bind(row::integer(now.0))
    .execute(change.connection())
    .await?;
    let detail = json!({"name": account.name.as_str(), "endedLogins": ended});
    change.audit("account.set-password", account::object(account), &detail);
    Ok(())
}
