//! From rows to grants: the table is the set of credentials that may pass now. Owns what a grant follows from. Expiry is not judged
//! here: it travels in the grant, and the edge judges it on every request.

use std::collections::{BTreeSet, HashMap};

use keygate_decision::{Access, AccountId, Digest, EnvironmentId, EnvironmentRef, Grant, Holder, KeyId, Reach};
use sqlx::sqlite::SqliteRow;

use super::{Connection, StoreError, row};
use crate::model::{Kind, Role};

/// Credentials that may pass: active ones, of active accounts or of environments. Everything else has no grant.
macro_rules! passing {
    ($($rest:literal)?) => {
        concat!(
            "SELECT c.digest, c.id, c.expires, c.account, a.kind, e.id AS environment FROM credential c ",
            "LEFT JOIN account a ON a.id = c.account LEFT JOIN environment e ON e.number = c.environment ",
            "WHERE c.state = 'active' AND (a.state = 'active' OR e.state = 'active')",
            $($rest)?
        )
    };
}

/// The grants of these digests; those that may not pass are absent.
pub(super) async fn grants(
    connection: &mut Connection,
    digests: &BTreeSet<Digest>,
) -> Result<HashMap<Digest, Grant>, StoreError> {
    let mut reaches = HashMap::new();
    let mut grants = HashMap::with_capacity(digests.len());
    for digest in digests {
        let query = sqlx::query(passing!(" AND c.digest = $1")).bind(digest.as_bytes().as_slice());
        let Some(row) = query.fetch_optional(&mut *connection).await? else { continue };
        if let Some(account) = row::optional_number(&row, "account")?
            && !reaches.contains_key(&AccountId(account))
        {
            reaches.insert(AccountId(account), reach(&memberships_of(connection, account).await?));
        }
        grants.insert(*digest, grant(&row, &reaches)?);
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
            let memberships = memberships_of(connection, account).await?;
            (HashMap::from([(AccountId(account), reach(&memberships))]), memberships)
        }
    };
    Ok(Some((grant(&row, &reaches)?, environments)))
}

/// The whole table.
pub(crate) async fn table(connection: &mut Connection) -> Result<Vec<(Digest, Grant)>, StoreError> {
    let mut memberships: HashMap<AccountId, Vec<(EnvironmentRef, Access)>> = HashMap::new();
    let rows = sqlx::query("SELECT m.account, e.id, m.role FROM membership m JOIN environment e ON e.number = m.environment")
        .fetch_all(&mut *connection)
        .await?;
    for row in &rows {
        let (environment, access) = membership(row)?;
        memberships.entry(AccountId(row::number(row, "account")?)).or_default().push((environment.reference(), access));
    }
    let reaches = memberships.into_iter().map(|(account, entries)| (account, Reach::only(entries))).collect();
    let rows = sqlx::query(passing!()).fetch_all(connection).await?;
    rows.iter().map(|row| Ok((row::digest(row)?, grant(row, &reaches)?))).collect()
}

async fn memberships_of(connection: &mut Connection, account: u64) -> Result<Vec<(EnvironmentId, Access)>, StoreError> {
    let rows = sqlx::query(
        "SELECT e.id, m.role FROM membership m JOIN environment e ON e.number = m.environment WHERE m.account = $1 ORDER BY e.id",
    )
    .bind(row::integer(account))
    .fetch_all(connection)
    .await?;
    rows.iter().map(membership).collect()
}

fn reach(memberships: &[(EnvironmentId, Access)]) -> Reach {
    Reach::only(memberships.iter().map(|(environment, access)| (environment.reference(), *access)))
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
            Holder::Account { account, limited: false, reach }
        }
    };
    Ok(Grant { key: KeyId(row::number(row, "id")?), holder, expires_at: row::optional_seconds(row, "expires")? })
}
