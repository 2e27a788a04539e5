//! From rows to grants: the table is the set of credentials that may pass now. Owns what a grant follows from. Expiry is not judged
//! here: it travels in the grant, and the edge judges it on every request.

use std::borrow::Borrow;
use std::collections::{BTreeSet, HashMap};

use keygate_decision::{Access, AccountId, Digest, EnvironmentId, EnvironmentRef, Grant, Holder, KeyId, Reach};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Sqlite};
use tokio_stream::{Stream, StreamExt as _};

use super::history::ROWS_IN_A_STATEMENT;
use super::login::{self, logins_pass};
use super::{Connection, StoreError, row};
use crate::model::{Kind, Role};

/// Credentials that may pass: active ones, of active accounts or of environments, and limited to none that is gone; logins while they are
/// enabled. Everything else has no grant.
macro_rules! passing {
    ($($rest:literal)?) => {
        concat!(
            passing!(columns "l.id"),
            "LEFT JOIN environment l ON l.number = c.limited_to ",
            passing!(conditions),
            " AND (c.limited_to IS NULL OR l.state = 'active') AND ",
            logins_pass!(),
            $($rest)?
        )
    };
    (columns $limit:literal) => {
        concat!(
            "SELECT c.digest, c.id, c.expires, c.account, a.kind, e.id AS environment, ",
            $limit,
            " AS limit_id FROM credential c ",
            "LEFT JOIN account a ON a.id = c.account LEFT JOIN environment e ON e.number = c.environment "
        )
    };
    (conditions) => {
        "WHERE c.state = 'active' AND (a.state = 'active' OR e.state = 'active')"
    };
}

/// As [`passing`], of a database that is older than logins, tokens and limits.
const PASSING_BEFORE_LOGINS: &str = concat!(passing!(columns "NULL"), passing!(conditions));

macro_rules! memberships {
    ($($rest:literal)?) => {
        concat!(
            "SELECT m.account, e.id, m.role FROM membership m JOIN environment e ON e.number = m.environment",
            $($rest)?
        )
    };
}

/// The grants of these digests; those that may not pass are absent.
pub(super) async fn grants(
    connection: &mut Connection,
    digests: &BTreeSet<Digest>,
) -> Result<HashMap<Digest, Grant>, StoreError> {
    let mut grants = HashMap::with_capacity(digests.len());
    let digests: Vec<_> = digests.iter().collect();
    for chunk in digests.chunks(ROWS_IN_A_STATEMENT) {
        let mut query = QueryBuilder::<Sqlite>::new(passing!(" AND c.digest IN ("));
        let mut values = query.separated(", ");
        for digest in chunk {
            values.push_bind(digest.as_bytes().as_slice());
        }
        query.push(")");
        // Seldom are there as many digests again, nor accounts below.
        let rows = query.build().persistent(false).fetch_all(&mut *connection).await?;
        let accounts: BTreeSet<u64> =
            rows.iter().filter_map(|row| row::optional_number(row, "account").transpose()).collect::<Result<_, _>>()?;
        let reaches = reaches_of(connection, &accounts).await?;
        for row in &rows {
            grants.insert(row::digest(row)?, grant(row, &reaches)?);
        }
    }
    Ok(grants)
}

/// The grant of one key, with the environments that it reaches by name; `None` if the key may not pass. For people: what proxies get
/// names no environments.
pub(crate) async fn grant_of(
    connection: &mut Connection,
    key: KeyId,
) -> Result<Option<(Grant, Vec<(EnvironmentId, Access)>)>, StoreError> {
    let query = sqlx::query(passing!(" AND c.id = $1")).bind(row::integer(key.0));
    let Some(row) = query.fetch_optional(&mut *connection).await? else { return Ok(None) };
    let (reaches, environments) = match row::optional_number(&row, "account")? {
        None => (HashMap::new(), vec![(row::text(&row, "environment", EnvironmentId::parse)?, Access::Write)]),
        Some(account) => {
            let rows = sqlx::query(memberships!(" WHERE m.account = $1 ORDER BY e.id")).bind(row::integer(account));
            let rows = rows.fetch_all(connection).await?;
            let mut environments = rows.iter().map(membership).collect::<Result<Vec<_>, _>>()?;
            if let Some(limit) = row::optional_text(&row, "limit_id", EnvironmentId::parse)? {
                match row::text(&row, "kind", Kind::parse)? {
                    Kind::Admin => environments = vec![(limit, Access::Write)],
                    Kind::User => environments.retain(|(environment, _)| *environment == limit),
                }
            }
            (reaches(tokio_stream::iter(rows.iter().map(Ok))).await?, environments)
        }
    };
    Ok(Some((grant(&row, &reaches)?, environments)))
}

/// How many credentials may pass, expired ones included.
pub(crate) async fn count(connection: &mut Connection) -> Result<u64, StoreError> {
    let row = sqlx::query(concat!("SELECT COUNT(*) AS number FROM (", passing!(), ")")).fetch_one(connection).await?;
    row::number(&row, "number")
}

/// The whole table, for when it is not long.
pub(crate) async fn table(connection: &mut Connection) -> Result<Vec<(Digest, Grant)>, StoreError> {
    let mut table = Vec::new();
    each(connection, |digest, grant| table.push((digest, grant))).await?;
    Ok(table)
}

/// Gives every credential of the table, one by one: a row takes many times what is kept of it.
pub(crate) async fn each(connection: &mut Connection, mut take: impl FnMut(Digest, Grant)) -> Result<(), StoreError> {
    let reaches = reaches(sqlx::query(memberships!()).fetch(&mut *connection)).await?;
    // A backup that is looked at, and not brought up to date, may be older than logins.
    let query = if login::are_known(connection).await? { passing!() } else { PASSING_BEFORE_LOGINS };
    let mut rows = sqlx::query(query).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        take(row::digest(&row)?, grant(&row, &reaches)?);
    }
    Ok(())
}

/// What accounts reach by their memberships; those of one statement at most.
async fn reaches_of(connection: &mut Connection, accounts: &BTreeSet<u64>) -> Result<HashMap<AccountId, Reach>, StoreError> {
    if accounts.is_empty() {
        return Ok(HashMap::new());
    }
    let mut query = QueryBuilder::<Sqlite>::new(memberships!(" WHERE m.account IN ("));
    let mut values = query.separated(", ");
    for account in accounts {
        values.push_bind(row::integer(*account));
    }
    query.push(")");
    reaches(query.build().persistent(false).fetch(connection)).await
}

async fn reaches<R: Borrow<SqliteRow>>(
    mut rows: impl Stream<Item = sqlx::Result<R>> + Unpin,
) -> Result<HashMap<AccountId, Reach>, StoreError> {
    let mut memberships: HashMap<AccountId, Vec<(EnvironmentRef, Access)>> = HashMap::new();
    while let Some(row) = rows.try_next().await? {
        let (environment, access) = membership(row.borrow())?;
        memberships.entry(AccountId(row::number(row.borrow(), "account")?)).or_default().push((environment.reference(), access));
    }
    Ok(memberships.into_iter().map(|(account, entries)| (account, Reach::only(entries))).collect())
}

fn membership(row: &SqliteRow) -> Result<(EnvironmentId, Access), StoreError> {
    let access = match row::text(row, "role", Role::parse)? {
        Role::Readonly => Access::Read,
        Role::Owner | Role::Member | Role::Restricted => Access::Write,
    };
    Ok((row::text(row, "id", EnvironmentId::parse)?, access))
}

/// `reaches` holds what accounts reach by their memberships; an account that has none is not in it.
fn grant(row: &SqliteRow, reaches: &HashMap<AccountId, Reach>) -> Result<Grant, StoreError> {
    let holder = match row::optional_number(row, "account")?.map(AccountId) {
        None => Holder::Environment(row::text(row, "environment", EnvironmentId::parse)?),
        Some(account) => {
            let reach = match row::text(row, "kind", Kind::parse)? {
                Kind::Admin => Reach::All,
                Kind::User => reaches.get(&account).cloned().unwrap_or_else(|| Reach::only([])),
            };
            match row::optional_text(row, "limit_id", EnvironmentId::parse)? {
                None => Holder::Account { account, limited: false, reach },
                Some(limit) => Holder::Account { account, limited: true, reach: reach.cut(limit.reference()) },
            }
        }
    };
    Ok(Grant { key: KeyId(row::number(row, "id")?), holder, expires_at: row::optional_seconds(row, "expires")? })
}
