//! Keys in storage: their digests, never their secrets. It does not ask who may do what.

use keygate_decision::key::AccessKey;
use keygate_decision::{AccountId, Digest, EnvironmentId, KeyId, UnixSeconds};
use serde_json::json;
use sqlx::sqlite::SqliteRow;
use tokio_stream::StreamExt as _;

use super::{Change, Connection, StoreError, row};
use crate::model::{Key, KeyHolder, Kind, State};
use crate::name::{AccountName, Description, Name};
use crate::permission::{Caller, Standing};

/// Keys that exist, with the names of their holders.
macro_rules! keys {
    ($rest:literal) => {
        concat!(
            "SELECT c.id, c.digest, c.access_key, c.account, a.name AS account_name, c.environment, e.id AS environment_id, ",
            "c.name, c.description, c.state, c.created, c.expires FROM credential c ",
            "LEFT JOIN account a ON a.id = c.account LEFT JOIN environment e ON e.number = c.environment ",
            "WHERE c.state <> 'removed' AND ",
            $rest
        )
    };
}

/// Finds a key.
pub(crate) async fn find(connection: &mut Connection, id: KeyId) -> Result<Option<Key>, StoreError> {
    let row = sqlx::query(keys!("c.id = $1")).bind(row::integer(id.0)).fetch_optional(connection).await?;
    row.as_ref().map(read).transpose()
}

/// Which keys to list.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Filter {
    All,
    Account(AccountId),
    Environment(u64),
}

/// The keys that a caller manages, oldest first: all for an admin; a user's own and those of environments that the user owns.
pub(crate) async fn list(connection: &mut Connection, standing: &Standing, filter: Filter) -> Result<Vec<Key>, StoreError> {
    let (account, environment) = match filter {
        Filter::All => (None, None),
        Filter::Account(account) => (Some(account.0), None),
        Filter::Environment(number) => (None, Some(number)),
    };
    let rows = sqlx::query(keys!(
        "($1 IS NULL OR c.account = $1) AND ($2 IS NULL OR c.environment = $2) AND ($3 OR c.account = $4 OR EXISTS \
         (SELECT 1 FROM membership m WHERE m.environment = c.environment AND m.account = $4 AND m.role = 'owner')) ORDER BY c.id"
    ))
    .bind(account.map(row::integer))
    .bind(environment.map(row::integer))
    .bind(standing.sees_all())
    .bind(standing.account().map(|own| row::integer(own.0)))
    .fetch(connection);
    // One by one: a row takes many times what is kept of it.
    rows.map(|row| read(&row?)).collect().await
}

/// Keys that may pass at the second `$2`, for [`read_caller`].
macro_rules! callers {
    ($which:literal) => {
        concat!(
            "SELECT c.id, c.account, a.kind, e.id AS environment FROM credential c ",
            "LEFT JOIN account a ON a.id = c.account LEFT JOIN environment e ON e.number = c.environment ",
            "WHERE c.state = 'active' AND (a.state = 'active' OR e.state = 'active') ",
            "AND (c.expires IS NULL OR $2 < c.expires) AND ",
            $which
        )
    };
}

/// Who presents this digest, if it may pass at this second.
pub(crate) async fn identify(
    connection: &mut Connection,
    digest: &Digest,
    now: UnixSeconds,
) -> Result<Option<Caller>, StoreError> {
    let query = sqlx::query(callers!("c.digest = $1")).bind(digest.as_bytes().as_slice()).bind(row::integer(now.0));
    query.fetch_optional(connection).await?.as_ref().map(read_caller).transpose()
}

/// Whom a key stands for that was identified before, if it still may pass when the change is made.
pub(crate) async fn identify_again(change: &mut Change<'_>, id: KeyId) -> Result<Option<Caller>, StoreError> {
    let now = change.now();
    let query = sqlx::query(callers!("c.id = $1")).bind(row::integer(id.0)).bind(row::integer(now.0));
    query.fetch_optional(change.connection()).await?.as_ref().map(read_caller).transpose()
}

fn read_caller(row: &SqliteRow) -> Result<Caller, StoreError> {
    let standing = match row::optional_number(row, "account")?.map(AccountId) {
        None => Standing::Environment(row::text(row, "environment", EnvironmentId::parse)?),
        Some(account) => match row::text(row, "kind", Kind::parse)? {
            Kind::Admin => Standing::Admin(account),
            Kind::User => Standing::User(account),
        },
    };
    Ok(Caller { key: KeyId(row::number(row, "id")?), standing })
}

/// A key that is about to be made. Its secret stays with whoever drew it.
#[derive(Debug)]
pub(crate) struct NewKey {
    pub(crate) digest: Digest,
    pub(crate) access: AccessKey,
    pub(crate) holder: KeyHolder,
    pub(crate) name: Name,
    pub(crate) description: Option<Description>,
    pub(crate) expires: Option<UnixSeconds>,
}

/// Makes an active key.
pub(crate) async fn create(change: &mut Change<'_>, new: NewKey) -> Result<Key, StoreError> {
    let now = change.now();
    let row = sqlx::query(
        "INSERT INTO credential (digest, access_key, account, environment, name, description, state, created, expires) \
         VALUES ($1, $2, $3, $4, $5, $6, 'active', $7, $8) RETURNING id",
    )
    .bind(new.digest.as_bytes().as_slice())
    .bind(new.access.as_str())
    .bind(new.holder.account().map(|id| row::integer(id.0)))
    .bind(new.holder.environment().map(row::integer))
    .bind(new.name.as_str())
    .bind(new.description.as_ref().map(Description::as_str))
    .bind(row::integer(now.0))
    .bind(new.expires.map(|end| row::integer(end.0)))
    .fetch_one(change.connection())
    .await?;
    let key = Key {
        id: KeyId(row::number(&row, "id")?),
        access: new.access,
        holder: new.holder,
        name: new.name,
        description: new.description,
        state: State::Active,
        created: now,
        expires: new.expires,
    };
    change.touch([new.digest]);
    let holder = match &key.holder {
        KeyHolder::Account { id, .. } => format!("account {}", id.0),
        KeyHolder::Environment { id, .. } => format!("environment {id}"),
    };
    let detail = json!({"name": key.name.as_str(), "holder": holder, "expires": key.expires.map(|end| end.0)});
    change.audit("key.create", object(&key), detail).await?;
    Ok(key)
}

/// Switches a key on or off.
pub(crate) async fn set_state(change: &mut Change<'_>, key: &Key, state: State) -> Result<Key, StoreError> {
    let row = sqlx::query("UPDATE credential SET state = $1 WHERE id = $2 RETURNING digest")
        .bind(state.as_str())
        .bind(row::integer(key.id.0))
        .fetch_one(change.connection())
        .await?;
    change.touch([row::digest(&row)?]);
    let action = match state {
        State::Active => "key.activate",
        State::Inactive => "key.deactivate",
    };
    change.audit(action, object(key), json!({"name": key.name.as_str()})).await?;
    Ok(Key { state, ..key.clone() })
}

/// Gives a key another name and description.
pub(crate) async fn edit(
    change: &mut Change<'_>,
    key: &Key,
    name: Name,
    description: Option<Description>,
) -> Result<Key, StoreError> {
    sqlx::query("UPDATE credential SET name = $1, description = $2 WHERE id = $3")
        .bind(name.as_str())
        .bind(description.as_ref().map(Description::as_str))
        .bind(row::integer(key.id.0))
        .execute(change.connection())
        .await?;
    let detail = json!({"name": name.as_str(), "description": description.as_ref().map(Description::as_str)});
    change.audit("key.edit", object(key), detail).await?;
    Ok(Key { name, description, ..key.clone() })
}

/// Removes an inactive key. It had no grant any more, so none changes.
pub(crate) async fn remove(change: &mut Change<'_>, key: &Key) -> Result<(), StoreError> {
    sqlx::query("UPDATE credential SET state = 'removed' WHERE id = $1 AND state = 'inactive'")
        .bind(row::integer(key.id.0))
        .execute(change.connection())
        .await?;
    change.audit("key.delete", object(key), json!({"name": key.name.as_str()})).await
}

/// The digests of an account's active keys: those whose grants change with the account.
pub(super) async fn active_digests_of_account(
    connection: &mut Connection,
    account: AccountId,
) -> Result<Vec<Digest>, StoreError> {
    let query = sqlx::query("SELECT digest FROM credential WHERE account = $1 AND state = 'active'");
    let rows = query.bind(row::integer(account.0)).fetch_all(connection).await?;
    rows.iter().map(row::digest).collect()
}

/// The digests of the active keys of an environment and of its members.
pub(super) async fn active_digests_of_environment(connection: &mut Connection, number: u64) -> Result<Vec<Digest>, StoreError> {
    let query = sqlx::query(
        "SELECT digest FROM credential WHERE state = 'active' \
         AND (environment = $1 OR account IN (SELECT account FROM membership WHERE environment = $1))",
    );
    let rows = query.bind(row::integer(number)).fetch_all(connection).await?;
    rows.iter().map(row::digest).collect()
}

fn object(key: &Key) -> String {
    format!("key {}", key.id.0)
}

fn read(row: &SqliteRow) -> Result<Key, StoreError> {
    let holder = match (row::optional_number(row, "account")?, row::optional_number(row, "environment")?) {
        (Some(id), _) => KeyHolder::Account { id: AccountId(id), name: row::text(row, "account_name", AccountName::parse)? },
        (None, Some(number)) => KeyHolder::Environment { number, id: row::text(row, "environment_id", EnvironmentId::parse)? },
        (None, None) => return Err(StoreError::Damaged { column: "account", value: "null, and so is environment".to_owned() }),
    };
    Ok(Key {
        id: KeyId(row::number(row, "id")?),
        access: row::text(row, "access_key", |text| AccessKey::parse(text).ok_or(()))?,
        holder,
        name: row::text(row, "name", Name::parse)?,
        description: row::optional_text(row, "description", Description::parse)?.flatten(),
        state: row::text(row, "state", State::parse)?,
        created: row::seconds(row, "created")?,
        expires: row::optional_seconds(row, "expires")?,
    })
}
