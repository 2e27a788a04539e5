//! Logins in storage: the digests of their tokens, never the tokens. It does not ask who may do what.
//!
//! A login that is over leaves no row: its number is not given out again, and the audit record keeps it. Those that have expired are
//! taken away now and then, and with every new login a number of them, more than one, so that they never pile up.

use keygate_decision::{AccountId, Digest, KeyId, UnixSeconds};
use serde_json::json;
use sqlx::sqlite::SqliteRow;

use super::{Change, Connection, StoreError, account, row};
use crate::model::{Account, Login};
use crate::name::{Description, Label};

/// So many expired logins a new one takes away.
const SWEPT_AT_ONCE: u32 = 100;
/// So many logins an account may have; a further one ends the oldest.
const MOST_OF_AN_ACCOUNT: u32 = 200;

/// Instead of now, where those that have expired are meant, too: nothing had at the first second of all.
pub(crate) const ALSO_EXPIRED: UnixSeconds = UnixSeconds(0);

/// What holds of a credential `c` unless it is a login and the setting `login-enabled` says that none passes.
macro_rules! logins_pass {
    () => {
        "(c.purpose <> 'login' OR NOT EXISTS (SELECT 1 FROM setting WHERE name = 'login-enabled' AND value = 'false'))"
    };
}
pub(super) use logins_pass;

/// Logins, with their accounts.
macro_rules! logins {
    ($rest:literal) => {
        concat!(
            "SELECT c.id AS login, c.access_key, c.description, c.created AS begun, c.expires, a.* ",
            "FROM credential c JOIN account a ON a.id = c.account ",
            "WHERE c.purpose = 'login' AND ",
            $rest
        )
    };
}

/// Finds a login that has not expired; see [`ALSO_EXPIRED`].
pub(crate) async fn find(connection: &mut Connection, id: KeyId, now: UnixSeconds) -> Result<Option<Login>, StoreError> {
    let query = sqlx::query(logins!("c.id = $1 AND $2 < c.expires")).bind(row::integer(id.0)).bind(row::integer(now.0));
    query.fetch_optional(connection).await?.as_ref().map(read).transpose()
}

/// The login whose token has this name, whatever the case, also if it has expired.
pub(crate) async fn named(connection: &mut Connection, label: &Label) -> Result<Option<Login>, StoreError> {
    let query = sqlx::query(logins!("lower(c.access_key) = lower($1) AND c.state <> 'removed'")).bind(label.as_str());
    query.fetch_optional(connection).await?.as_ref().map(read).transpose()
}

/// The logins that have not expired, of one account or of all, oldest first; see [`ALSO_EXPIRED`].
pub(crate) async fn list(
    connection: &mut Connection,
    account: Option<AccountId>,
    now: UnixSeconds,
) -> Result<Vec<Login>, StoreError> {
    let query = sqlx::query(logins!("($1 IS NULL OR c.account = $1) AND $2 < c.expires ORDER BY c.id"));
    let rows = query.bind(account.map(|id| row::integer(id.0))).bind(row::integer(now.0)).fetch_all(connection).await?;
    rows.iter().map(read).collect()
}

/// A login that is about to be made. Its token stays with whoever drew it.
#[derive(Debug)]
pub(crate) struct NewLogin {
    /// Of the token.
    pub(crate) digest: Digest,
    /// The name, if the token is one of name and secret. The caller has checked that it is free.
    pub(crate) label: Option<Label>,
    pub(crate) description: Option<Description>,
    pub(crate) expires: UnixSeconds,
}

/// Makes a login.
pub(crate) async fn create(change: &mut Change<'_>, account: &Account, new: NewLogin) -> Result<Login, StoreError> {
    make_room(change, account).await?;
    let now = change.now();
    let NewLogin { digest, label, description, expires } = new;
    let row = sqlx::query(
        "INSERT INTO credential (digest, purpose, access_key, account, name, description, state, created, expires) \
         VALUES ($1, 'login', $2, $3, 'login', $4, 'active', $5, $6) RETURNING id",
    )
    .bind(digest.as_bytes().as_slice())
    .bind(label.as_ref().map(Label::as_str))
    .bind(row::integer(account.id.0))
    .bind(description.as_ref().map(Description::as_str))
    .bind(row::integer(now.0))
    .bind(row::integer(expires.0))
    .fetch_one(change.connection())
    .await?;
    let id = KeyId(row::number(&row, "id")?);
    let login = Login { id, label, description, account: account.clone(), created: now, expires };
    change.touch([digest]);
    change.audit("login.create", object(login.id), &json!({"account": account.name.as_str(), "expires": expires.0}));
    Ok(login)
}

/// Ends a login.
pub(crate) async fn remove(change: &mut Change<'_>, login: &Login) -> Result<(), StoreError> {
    let query = sqlx::query("DELETE FROM credential WHERE purpose = 'login' AND id = $1 RETURNING digest");
    let rows = query.bind(row::integer(login.id.0)).fetch_all(change.connection()).await?;
    touch(change, &rows)?;
    change.audit("login.delete", object(login.id), &json!({"account": login.account.name.as_str()}));
    Ok(())
}

/// Ends all logins of an account but one, and but those whose token has a name: Rancher 2's outlive a password. How many there were.
pub(crate) async fn remove_others(change: &mut Change<'_>, account: AccountId, but: Option<KeyId>) -> Result<usize, StoreError> {
    let query = sqlx::query(
        "DELETE FROM credential WHERE purpose = 'login' AND access_key IS NULL AND account = $1 AND ($2 IS NULL OR id <> $2) \
         RETURNING digest",
    );
    let query = query.bind(row::integer(account.0)).bind(but.map(|id| row::integer(id.0)));
    let rows = query.fetch_all(change.connection()).await?;
    touch(change, &rows)?;
    Ok(rows.len())
}

/// Notes that all logins may pass now that did not, or the reverse.
pub(crate) async fn switched(change: &mut Change<'_>) -> Result<(), StoreError> {
    let rows = sqlx::query("SELECT digest FROM credential WHERE purpose = 'login'").fetch_all(change.connection()).await?;
    touch(change, &rows)
}

/// Whether there are logins that have expired.
pub(crate) async fn any_expired(connection: &mut Connection, now: UnixSeconds) -> Result<bool, StoreError> {
    let query = sqlx::query("SELECT 1 FROM credential WHERE purpose = 'login' AND expires <= $1 LIMIT 1");
    Ok(query.bind(row::integer(now.0)).fetch_optional(connection).await?.is_some())
}

/// Takes away what has expired, some at a time.
pub(crate) async fn sweep(change: &mut Change<'_>) -> Result<(), StoreError> {
    let now = row::integer(change.now().0);
    let expired = sqlx::query(
        "DELETE FROM credential WHERE id IN (SELECT id FROM credential WHERE purpose = 'login' AND expires <= $1 \
         ORDER BY expires LIMIT $2) RETURNING digest",
    );
    let expired = expired.bind(now).bind(SWEPT_AT_ONCE).fetch_all(change.connection()).await?;
    touch(change, &expired)
}

/// Whether a database, which may be an old one, knows logins.
pub(super) async fn are_known(connection: &mut Connection) -> Result<bool, StoreError> {
    let query = sqlx::query("SELECT 1 FROM sqlite_schema WHERE name = 'setting'");
    Ok(query.fetch_optional(connection).await?.is_some())
}

/// Ends all logins of a database that nobody serves.
pub(super) async fn end_all(connection: &mut Connection) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM credential WHERE purpose = 'login'").execute(connection).await?;
    Ok(())
}

/// Takes away some of what has expired, and the oldest logins of an account that would have too many.
async fn make_room(change: &mut Change<'_>, account: &Account) -> Result<(), StoreError> {
    sweep(change).await?;
    let oldest = sqlx::query(
        "DELETE FROM credential WHERE id IN (SELECT id FROM credential WHERE purpose = 'login' AND account = $1 \
         ORDER BY id DESC LIMIT $2 OFFSET $3) RETURNING id, digest, expires",
    );
    let oldest = oldest.bind(row::integer(account.id.0)).bind(SWEPT_AT_ONCE).bind(MOST_OF_AN_ACCOUNT - 1);
    let oldest = oldest.fetch_all(change.connection()).await?;
    // Whoever had one of these was thrown out by somebody else's login: the record says so.
    for row in &oldest {
        if row::seconds(row, "expires")? <= change.now() {
            continue;
        }
        let detail = json!({"account": account.name.as_str(), "reason": "a newer login took its place"});
        change.audit("login.delete", object(KeyId(row::number(row, "id")?)), &detail);
    }
    touch(change, &oldest)
}

fn touch(change: &mut Change<'_>, rows: &[SqliteRow]) -> Result<(), StoreError> {
    let digests: Vec<Digest> = rows.iter().map(row::digest).collect::<Result<_, _>>()?;
    change.touch(digests);
    Ok(())
}

fn object(login: KeyId) -> String {
    format!("login {}", login.0)
}

fn read(row: &SqliteRow) -> Result<Login, StoreError> {
    Ok(Login {
        id: KeyId(row::number(row, "login")?),
        label: row::optional_text(row, "access_key", Label::parse)?,
        description: row::optional_text(row, "description", Description::stored)?.flatten(),
        account: account::read(row)?,
        created: row::seconds(row, "begun")?,
        expires: row::seconds(row, "expires")?,
    })
}
