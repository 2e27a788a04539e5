//! Who presents a credential: a key, a token or a login, of whom only the digest is known. It does not ask what they may do.

use keygate_decision::{AccountId, Digest, EnvironmentId, KeyId, UnixSeconds};
use sqlx::sqlite::SqliteRow;

use super::login::logins_pass;
use super::{Change, Connection, StoreError, row};
use crate::model::{Kind, Purpose};
use crate::permission::{Caller, Standing};

/// What [`read`] reads.
macro_rules! columns {
    () => {
        "SELECT c.id, c.purpose, c.account, a.kind, e.id AS environment, l.id AS limit_id FROM credential c \
         LEFT JOIN account a ON a.id = c.account LEFT JOIN environment e ON e.number = c.environment \
         LEFT JOIN environment l ON l.number = c.limited_to "
    };
}

/// Credentials that may pass at the second `$2`, for [`read`].
macro_rules! passing {
    ($which:literal) => {
        concat!(
            columns!(),
            "WHERE c.state = 'active' AND (a.state = 'active' OR e.state = 'active') ",
            "AND (c.expires IS NULL OR $2 < c.expires) AND ",
            logins_pass!(),
            " AND ",
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
    let query = sqlx::query(passing!("c.digest = $1")).bind(digest.as_bytes().as_slice()).bind(row::integer(now.0));
    query.fetch_optional(connection).await?.as_ref().map(read).transpose()
}

/// Whose credential has this digest, though it may not pass: it is inactive, removed or expired, or its account is.
pub(crate) async fn recognize(connection: &mut Connection, digest: &Digest) -> Result<Option<Caller>, StoreError> {
    let query = sqlx::query(concat!(columns!(), "WHERE c.digest = $1"));
    query.bind(digest.as_bytes().as_slice()).fetch_optional(connection).await?.as_ref().map(read).transpose()
}

/// Whom a key stands for that was identified before, if it still may pass when the change is made.
pub(crate) async fn identify_again(change: &mut Change<'_>, id: KeyId) -> Result<Option<Caller>, StoreError> {
    let now = change.now();
    let query = sqlx::query(passing!("c.id = $1")).bind(row::integer(id.0)).bind(row::integer(now.0));
    query.fetch_optional(change.connection()).await?.as_ref().map(read).transpose()
}

fn read(row: &SqliteRow) -> Result<Caller, StoreError> {
    let limit = row::optional_text(row, "limit_id", EnvironmentId::parse)?;
    let standing = match (row::optional_number(row, "account")?.map(AccountId), limit) {
        (None, _) => Standing::Environment(row::text(row, "environment", EnvironmentId::parse)?),
        (Some(account), Some(limit)) => Standing::Limited(account, limit),
        (Some(account), None) => match row::text(row, "kind", Kind::parse)? {
            Kind::Admin => Standing::Admin(account),
            Kind::User => Standing::User(account),
        },
    };
    Ok(Caller { key: KeyId(row::number(row, "id")?), purpose: row::text(row, "purpose", Purpose::parse)?, standing })
}
