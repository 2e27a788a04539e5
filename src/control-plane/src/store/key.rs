//! Keys and tokens in storage: their digests, never their secrets. It does not ask who may do what.

use keygate_decision::{AccountId, Digest, EnvironmentId, KeyId, UnixSeconds};
use serde_json::json;
use sqlx::sqlite::SqliteRow;

use super::{Change, Connection, StoreError, row};
use crate::model::{Form, Key, KeyHolder, Limit, Purpose, State};
use crate::name::{AccountName, Description, Label, Name};

/// Keys that exist, with the names of their holders; or those that were removed and not purged yet.
macro_rules! keys {
    ($rest:literal) => {
        keys!("c.state <> 'removed'", $rest)
    };
    (removed $rest:literal) => {
        keys!("c.state = 'removed' AND c.removed IS NOT NULL AND c.purged IS NULL", $rest)
    };
    ($which:literal, $rest:literal) => {
        concat!(
            "SELECT c.id, c.digest, c.purpose, c.access_key, c.prefix, c.account, a.name AS account_name, ",
            "c.environment, e.id AS environment_id, c.limited_to, l.id AS limit_id, ",
            "c.name, c.description, CASE c.state WHEN 'removed' THEN 'inactive' ELSE c.state END AS state, ",
            "c.created, c.expires, c.last_used, c.removed FROM credential c ",
            "LEFT JOIN account a ON a.id = c.account LEFT JOIN environment e ON e.number = c.environment ",
            "LEFT JOIN environment l ON l.number = c.limited_to WHERE c.purpose <> 'login' AND ",
            $which,
            " AND ",
            $rest
        )
    };
}

mod managed;

pub(crate) use managed::{Filter, each, each_removed, list, page};

/// Finds a key.
pub(crate) async fn find(connection: &mut Connection, id: KeyId) -> Result<Option<Key>, StoreError> {
    let row = sqlx::query(keys!("c.id = $1")).bind(row::integer(id.0)).fetch_optional(connection).await?;
    row.as_ref().map(read).transpose()
}

/// Finds a key that was removed and not purged yet.
pub(crate) async fn find_removed(connection: &mut Connection, id: KeyId) -> Result<Option<Key>, StoreError> {
    let row = sqlx::query(keys!(removed "c.id = $1")).bind(row::integer(id.0)).fetch_optional(connection).await?;
    row.as_ref().map(read).transpose()
}

/// Whether a key that is not removed has this access key, or a token or login this name, whatever the case.
pub(crate) async fn is_taken(connection: &mut Connection, label: &Label) -> Result<bool, StoreError> {
    let query = sqlx::query("SELECT 1 FROM credential WHERE lower(access_key) = lower($1) AND state <> 'removed'");
    Ok(query.bind(label.as_str()).fetch_optional(connection).await?.is_some())
}

/// The key or token, not removed, that has this access key or name, whatever the case.
pub(crate) async fn named(connection: &mut Connection, label: &Label) -> Result<Option<Key>, StoreError> {
    let row = sqlx::query(keys!("lower(c.access_key) = lower($1)")).bind(label.as_str()).fetch_optional(connection).await?;
    row.as_ref().map(read).transpose()
}

/// Whether there is, or ever was, a key of this digest.
pub(crate) async fn is_used(connection: &mut Connection, digest: &Digest) -> Result<bool, StoreError> {
    let query = sqlx::query("SELECT 1 FROM credential WHERE digest = $1").bind(digest.as_bytes().as_slice());
    Ok(query.fetch_optional(connection).await?.is_some())
}

/// The tokens of an account, limited to this environment or not at all, whose names begin so and that have expired.
pub(crate) async fn expired(
    connection: &mut Connection,
    account: AccountId,
    limit: Option<&EnvironmentId>,
    prefix: &str,
    now: UnixSeconds,
) -> Result<Vec<Key>, StoreError> {
    // Names are of ASCII, so that this is all that begins so. The plus keeps to the index of names: an account may have many others.
    let query = sqlx::query(keys!(
        "lower(c.access_key) >= lower($1) AND lower(c.access_key) < lower($1) || char(128) \
         AND c.purpose = 'token' AND +c.account = $2 AND l.id IS $3 AND c.expires <= $4 ORDER BY c.id"
    ));
    let query = query.bind(prefix.to_owned()).bind(row::integer(account.0)).bind(limit.map(|limit| limit.as_str().to_owned()));
    let rows = query.bind(row::integer(now.0)).fetch_all(connection).await?;
    rows.iter().map(read).collect()
}

/// How many tokens an account has, also those that have expired.
pub(crate) async fn count_tokens(connection: &mut Connection, account: AccountId) -> Result<u64, StoreError> {
    let query =
        sqlx::query("SELECT count(*) AS number FROM credential WHERE account = $1 AND purpose = 'token' AND state <> 'removed'");
    row::number(&query.bind(row::integer(account.0)).fetch_one(connection).await?, "number")
}

/// The environment whose active key has this access key, whatever the case.
pub(crate) async fn environment_of(connection: &mut Connection, access: &Label) -> Result<Option<EnvironmentId>, StoreError> {
    // That it is not removed is said in the words of the index.
    let query = sqlx::query(
        "SELECT e.id FROM credential c JOIN environment e ON e.number = c.environment \
         WHERE lower(c.access_key) = lower($1) AND c.state <> 'removed' AND c.state = 'active' AND e.state = 'active'",
    );
    let row = query.bind(access.as_str()).fetch_optional(connection).await?;
    row.map(|row| row::text(&row, "id", EnvironmentId::parse)).transpose()
}

/// A key or token that is about to be made. Its secret stays with whoever drew it.
#[derive(Debug)]
pub(crate) struct NewKey {
    pub(crate) digest: Digest,
    pub(crate) form: Form,
    pub(crate) holder: KeyHolder,
    pub(crate) limit: Option<Limit>,
    pub(crate) name: Name,
    pub(crate) description: Option<Description>,
    pub(crate) expires: Option<UnixSeconds>,
}

/// Makes an active key.
pub(crate) async fn create(change: &mut Change<'_>, new: NewKey) -> Result<Key, StoreError> {
    let now = change.now();
    let (access_key, prefix) = match &new.form {
        Form::Pair(label) | Form::Named(label) => (Some(label.as_str()), None),
        Form::Whole(label) => (None, Some(label.as_str())),
    };
    let row = sqlx::query(
        "INSERT INTO credential (digest, purpose, access_key, prefix, account, environment, limited_to, name, description, state, \
         created, expires) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'active', $10, $11) RETURNING id",
    )
    .bind(new.digest.as_bytes().as_slice())
    .bind(new.form.purpose().as_str())
    .bind(access_key)
    .bind(prefix)
    .bind(new.holder.account().map(|id| row::integer(id.0)))
    .bind(new.holder.environment().map(row::integer))
    .bind(new.limit.as_ref().map(|limit| row::integer(limit.number)))
    .bind(new.name.as_str())
    .bind(new.description.as_ref().map(Description::as_str))
    .bind(row::integer(now.0))
    .bind(new.expires.map(|end| row::integer(end.0)))
    .fetch_one(change.connection())
    .await?;
    let key = Key {
        id: KeyId(row::number(&row, "id")?),
        form: new.form,
        holder: new.holder,
        limit: new.limit,
        name: new.name,
        description: new.description,
        state: State::Active,
        created: now,
        expires: new.expires,
        last_used: None,
        removed: None,
    };
    change.touch([new.digest]);
    let holder = match &key.holder {
        KeyHolder::Account { id, .. } => format!("account {}", id.0),
        KeyHolder::Environment { id, .. } => format!("environment {id}"),
    };
    let limit = key.limit.as_ref().map(|limit| limit.id.as_str());
    let detail = json!({"name": key.name.as_str(), "holder": holder, "limit": limit, "expires": key.expires.map(|end| end.0)});
    change.audit("key.create", object(&key), &detail);
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
    change.audit(action, object(key), &json!({"name": key.name.as_str()}));
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
    change.audit("key.edit", object(key), &detail);
    Ok(Key { name, description, ..key.clone() })
}

/// Removes a key.
pub(crate) async fn remove(change: &mut Change<'_>, key: &Key) -> Result<(), StoreError> {
    let now = change.now();
    let row = sqlx::query("UPDATE credential SET state = 'removed', removed = $2 WHERE id = $1 RETURNING digest")
        .bind(row::integer(key.id.0))
        .bind(row::integer(now.0))
        .fetch_one(change.connection())
        .await?;
    // An inactive one had no grant any more: none changes then.
    if key.state == State::Active {
        change.touch([row::digest(&row)?]);
    }
    change.audit("key.delete", object(key), &json!({"name": key.name.as_str()}));
    Ok(())
}

/// Puts a removed key out of sight. Its row stays: a digest is never used twice.
pub(crate) async fn purge(change: &mut Change<'_>, key: &Key) -> Result<(), StoreError> {
    let now = change.now();
    sqlx::query("UPDATE credential SET purged = $2 WHERE id = $1 AND state = 'removed'")
        .bind(row::integer(key.id.0))
        .bind(row::integer(now.0))
        .execute(change.connection())
        .await?;
    change.audit("key.purge", object(key), &json!({"name": key.name.as_str()}));
    Ok(())
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

/// The digests of the active keys of an environment and of its members, and of those that are limited to it.
pub(super) async fn active_digests_of_environment(connection: &mut Connection, number: u64) -> Result<Vec<Digest>, StoreError> {
    let query = sqlx::query(
        "SELECT digest FROM credential WHERE state = 'active' \
         AND (environment = $1 OR limited_to = $1 OR account IN (SELECT account FROM membership WHERE environment = $1))",
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
    let purpose = row::text(row, "purpose", Purpose::parse)?;
    let form = match (purpose, row::optional_text(row, "access_key", Label::parse)?) {
        (Purpose::Key, Some(label)) => Form::Pair(label),
        (_, Some(label)) => Form::Named(label),
        (_, None) => Form::Whole(row::text(row, "prefix", Label::parse)?),
    };
    let limit = match row::optional_number(row, "limited_to")? {
        Some(number) => Some(Limit { number, id: row::text(row, "limit_id", EnvironmentId::parse)? }),
        None => None,
    };
    Ok(Key {
        id: KeyId(row::number(row, "id")?),
        form,
        holder,
        limit,
        name: row::text(row, "name", Name::stored)?,
        description: row::optional_text(row, "description", Description::stored)?.flatten(),
        state: row::text(row, "state", State::parse)?,
        created: row::seconds(row, "created")?,
        expires: row::optional_seconds(row, "expires")?,
        last_used: row::optional_seconds(row, "last_used")?,
        removed: row::optional_seconds(row, "removed")?,
    })
}
