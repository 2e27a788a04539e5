//! Accounts in storage. It does not ask who may do what.

use keygate_decision::AccountId;
use serde_json::json;
use sqlx::sqlite::SqliteRow;

use super::{Change, Connection, StoreError, key, row};
use crate::model::{Account, AccountRef, Kind, State};
use crate::name::AccountName;

/// Finds an account by number or by name, whatever the name's case.
pub(crate) async fn find(connection: &mut Connection, reference: &AccountRef) -> Result<Option<Account>, StoreError> {
    let query = match reference {
        AccountRef::Id(id) => sqlx::query("SELECT * FROM account WHERE id = $1 AND state <> 'removed'").bind(row::integer(id.0)),
        AccountRef::Name(name) => {
            sqlx::query("SELECT * FROM account WHERE lower(name) = lower($1) AND state <> 'removed'").bind(name.as_str())
        }
    };
    query.fetch_optional(connection).await?.as_ref().map(read).transpose()
}

/// All accounts, or only this one.
pub(crate) async fn list(connection: &mut Connection, only: Option<AccountId>) -> Result<Vec<Account>, StoreError> {
    let rows = sqlx::query("SELECT * FROM account WHERE state <> 'removed' AND ($1 IS NULL OR id = $1) ORDER BY id")
        .bind(only.map(|id| row::integer(id.0)))
        .fetch_all(connection)
        .await?;
    rows.iter().map(read).collect()
}

/// Whether anyone has ever initialized this storage.
pub(crate) async fn any(connection: &mut Connection) -> Result<bool, StoreError> {
    Ok(sqlx::query("SELECT id FROM account LIMIT 1").fetch_optional(connection).await?.is_some())
}

/// Makes an active account. The caller has checked that the name is free.
pub(crate) async fn create(change: &mut Change<'_>, name: &AccountName, kind: Kind) -> Result<Account, StoreError> {
    let now = change.now();
    let row = sqlx::query("INSERT INTO account (name, kind, state, created) VALUES ($1, $2, 'active', $3) RETURNING *")
        .bind(name.as_str())
        .bind(kind.as_str())
        .bind(row::integer(now.0))
        .fetch_one(change.connection())
        .await?;
    let account = read(&row)?;
    change.audit("account.create", object(&account), &json!({"name": name.as_str(), "kind": kind.as_str()}));
    Ok(account)
}

/// Switches an account on or off, and with it all its keys.
pub(crate) async fn set_state(change: &mut Change<'_>, account: &Account, state: State) -> Result<Account, StoreError> {
    let digests = key::active_digests_of_account(change.connection(), account.id).await?;
    sqlx::query("UPDATE account SET state = $1 WHERE id = $2")
        .bind(state.as_str())
        .bind(row::integer(account.id.0))
        .execute(change.connection())
        .await?;
    change.touch(digests);
    let action = match state {
        State::Active => "account.activate",
        State::Inactive => "account.deactivate",
    };
    change.audit(action, object(account), &json!({"name": account.name.as_str()}));
    Ok(Account { state, ..account.clone() })
}

/// Removes an account, its keys and its memberships.
pub(crate) async fn remove(change: &mut Change<'_>, account: &Account) -> Result<(), StoreError> {
    let digests = key::active_digests_of_account(change.connection(), account.id).await?;
    for statement in [
        "DELETE FROM credential WHERE account = $1 AND purpose = 'login'",
        "UPDATE credential SET state = 'removed' WHERE account = $1",
        "DELETE FROM password WHERE account = $1",
        "DELETE FROM membership WHERE account = $1",
        "UPDATE account SET state = 'removed' WHERE id = $1",
    ] {
        sqlx::query(statement).bind(row::integer(account.id.0)).execute(change.connection()).await?;
    }
    change.touch(digests);
    change.audit("account.delete", object(account), &json!({"name": account.name.as_str()}));
    Ok(())
}

/// What the audit record calls an account.
pub(super) fn object(account: &Account) -> String {
    format!("account {}", account.id.0)
}

/// An account of a row that has its columns.
pub(super) fn read(row: &SqliteRow) -> Result<Account, StoreError> {
    Ok(Account {
        id: AccountId(row::number(row, "id")?),
        name: row::text(row, "name", AccountName::parse)?,
        kind: row::text(row, "kind", Kind::parse)?,
        state: row::text(row, "state", State::parse)?,
        created: row::seconds(row, "created")?,
    })
}
