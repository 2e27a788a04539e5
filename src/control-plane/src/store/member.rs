//! Memberships in storage. It does not ask who may do what.

use keygate_decision::AccountId;
use serde_json::json;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::{Change, Connection, StoreError, environment, key, row};
use crate::model::{Account, Environment, Member, Role};
use crate::name::AccountName;

/// The members of an environment.
pub(crate) async fn list(connection: &mut Connection, environment: &Environment) -> Result<Vec<Member>, StoreError> {
    select(connection, environment, None).await
}

/// One membership.
pub(crate) async fn find(
    connection: &mut Connection,
    environment: &Environment,
    account: AccountId,
) -> Result<Option<Member>, StoreError> {
    Ok(select(connection, environment, Some(account)).await?.pop())
}

/// Makes an account a member, or gives a member another role.
pub(crate) async fn put(
    change: &mut Change<'_>,
    environment: &Environment,
    account: &Account,
    role: Role,
) -> Result<(), StoreError> {
    let now = change.now();
    sqlx::query(
        "INSERT INTO membership (environment, account, role, created) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (environment, account) DO UPDATE SET role = excluded.role",
    )
    .bind(row::integer(environment.number))
    .bind(row::integer(account.id.0))
    .bind(role.as_str())
    .bind(row::integer(now.0))
    .execute(change.connection())
    .await?;
    touch_and_audit(change, "member.put", environment, account, role).await
}

/// Ends a membership.
pub(crate) async fn remove(
    change: &mut Change<'_>,
    environment: &Environment,
    account: &Account,
    role: Role,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM membership WHERE environment = $1 AND account = $2")
        .bind(row::integer(environment.number))
        .bind(row::integer(account.id.0))
        .execute(change.connection())
        .await?;
    touch_and_audit(change, "member.remove", environment, account, role).await
}

/// All members, or only this one.
async fn select(
    connection: &mut Connection,
    environment: &Environment,
    only: Option<AccountId>,
) -> Result<Vec<Member>, StoreError> {
    let rows = sqlx::query(
        "SELECT a.id, a.name, m.role, m.created, m.role = 'owner' AND NOT EXISTS ( \
           SELECT 1 FROM membership o JOIN account b ON b.id = o.account WHERE o.environment = m.environment \
           AND o.account <> m.account AND o.role = 'owner' AND b.state = 'active') AS is_last_owner \
         FROM membership m JOIN account a ON a.id = m.account \
         WHERE m.environment = $1 AND ($2 IS NULL OR m.account = $2) ORDER BY m.account",
    )
    .bind(row::integer(environment.number))
    .bind(only.map(|account| row::integer(account.0)))
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| read(row, environment)).collect()
}

async fn touch_and_audit(
    change: &mut Change<'_>,
    action: &'static str,
    environment: &Environment,
    account: &Account,
    role: Role,
) -> Result<(), StoreError> {
    let digests = key::active_digests_of_account(change.connection(), account.id).await?;
    change.touch(digests);
    let detail = json!({"account": account.id.0.to_string(), "name": account.name.as_str(), "role": role.as_str()});
    change.audit(action, environment::object(environment), &detail);
    Ok(())
}

fn read(row: &SqliteRow, environment: &Environment) -> Result<Member, StoreError> {
    Ok(Member {
        environment: environment.id.clone(),
        account_id: AccountId(row::number(row, "id")?),
        account: row::text(row, "name", AccountName::parse)?,
        role: row::text(row, "role", Role::parse)?,
        created: row::seconds(row, "created")?,
        is_last_owner: row.try_get("is_last_owner")?,
    })
}
