//! Environments in storage. It does not ask who may do what.

use keygate_decision::EnvironmentId;
use serde_json::json;
use sqlx::sqlite::SqliteRow;

use super::{Change, Connection, StoreError, key, row};
use crate::model::{Environment, Role};
use crate::name::Name;
use crate::permission::{Standing, Tie};

/// Finds an environment by exactly its id.
pub(crate) async fn find(connection: &mut Connection, id: &EnvironmentId) -> Result<Option<Environment>, StoreError> {
    let row = sqlx::query("SELECT * FROM environment WHERE id = $1 AND state <> 'removed'")
        .bind(id.as_str())
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(read).transpose()
}

/// Whether an id is in use, in whatever case.
pub(crate) async fn is_taken(connection: &mut Connection, id: &EnvironmentId) -> Result<bool, StoreError> {
    let query = sqlx::query("SELECT id FROM environment WHERE lower(id) = lower($1) AND state <> 'removed'").bind(id.as_str());
    Ok(query.fetch_optional(connection).await?.is_some())
}

/// What ties a caller to an environment, by number.
pub(crate) async fn tie(connection: &mut Connection, standing: &Standing, number: u64) -> Result<Tie, StoreError> {
    match standing {
        Standing::Environment(own) => {
            let own = find(connection, own).await?;
            Ok(if own.is_some_and(|own| own.number == number) { Tie::Key } else { Tie::None })
        }
        // What the account has lost, its limited keys have lost, too.
        Standing::Limited(account, own) => {
            let row = sqlx::query(
                "SELECT 1 FROM environment e JOIN account a ON a.id = $1 WHERE e.id = $2 AND e.number = $3 AND e.state <> 'removed' \
                 AND (a.kind = 'admin' OR EXISTS (SELECT 1 FROM membership WHERE environment = e.number AND account = a.id))",
            );
            let row = row.bind(row::integer(account.0)).bind(own.as_str()).bind(row::integer(number));
            Ok(row.fetch_optional(connection).await?.map_or(Tie::None, |_| Tie::Key))
        }
        Standing::Admin(account) | Standing::User(account) => {
            let row = sqlx::query("SELECT role FROM membership WHERE environment = $1 AND account = $2")
                .bind(row::integer(number))
                .bind(row::integer(account.0))
                .fetch_optional(connection)
                .await?;
            row.map_or(Ok(Tie::None), |row| row::text(&row, "role", Role::parse).map(Tie::Role))
        }
    }
}

/// The environments that a caller sees, each with what ties it to them.
pub(crate) async fn list(connection: &mut Connection, standing: &Standing) -> Result<Vec<(Environment, Tie)>, StoreError> {
    let own = match standing {
        Standing::Environment(own) => Some(own.as_str()),
        Standing::Limited(_, own) => {
            let Some(own) = find(connection, own).await? else { return Ok(Vec::new()) };
            let tie = tie(connection, standing, own.number).await?;
            return Ok(if tie == Tie::Key { vec![(own, tie)] } else { Vec::new() });
        }
        Standing::Admin(_) | Standing::User(_) => None,
    };
    let rows = sqlx::query(
        "SELECT e.*, m.role FROM environment e LEFT JOIN membership m ON m.environment = e.number AND m.account = $1 \
         WHERE e.state <> 'removed' AND ($2 OR m.role IS NOT NULL OR e.id = $3) ORDER BY e.number",
    )
    .bind(standing.account().map(|account| row::integer(account.0)))
    .bind(standing.sees_all())
    .bind(own)
    .fetch_all(connection)
    .await?;
    let tie = |row: &SqliteRow| match row::optional_text(row, "role", Role::parse)? {
        Some(role) => Ok(Tie::Role(role)),
        None if own.is_some() => Ok(Tie::Key),
        None => Ok::<_, StoreError>(Tie::None),
    };
    rows.iter().map(|row| Ok((read(row)?, tie(row)?))).collect()
}

/// Makes an environment. The caller has checked that the id is free.
pub(crate) async fn create(change: &mut Change<'_>, id: &EnvironmentId, name: &Name) -> Result<Environment, StoreError> {
    let now = change.now();
    let row = sqlx::query("INSERT INTO environment (id, name, state, created) VALUES ($1, $2, 'active', $3) RETURNING *")
        .bind(id.as_str())
        .bind(name.as_str())
        .bind(row::integer(now.0))
        .fetch_one(change.connection())
        .await?;
    let environment = read(&row)?;
    change.audit("environment.create", object(&environment), &json!({"name": name.as_str()}));
    Ok(environment)
}

/// Gives an environment another name.
pub(crate) async fn rename(change: &mut Change<'_>, environment: &Environment, name: &Name) -> Result<Environment, StoreError> {
    sqlx::query("UPDATE environment SET name = $1 WHERE number = $2")
        .bind(name.as_str())
        .bind(row::integer(environment.number))
        .execute(change.connection())
        .await?;
    change.audit("environment.edit", object(environment), &json!({"name": name.as_str()}));
    Ok(Environment { name: name.clone(), ..environment.clone() })
}

/// Removes an environment, its keys, those that are limited to it, and its memberships.
pub(crate) async fn remove(change: &mut Change<'_>, environment: &Environment) -> Result<(), StoreError> {
    let digests = key::active_digests_of_environment(change.connection(), environment.number).await?;
    for statement in [
        "DELETE FROM credential WHERE limited_to = $1 AND purpose = 'login'",
        "UPDATE credential SET state = 'removed' WHERE environment = $1 OR limited_to = $1",
        "DELETE FROM membership WHERE environment = $1",
        "UPDATE environment SET state = 'removed' WHERE number = $1",
    ] {
        sqlx::query(statement).bind(row::integer(environment.number)).execute(change.connection()).await?;
    }
    change.touch(digests);
    change.audit("environment.delete", object(environment), &json!({"name": environment.name.as_str()}));
    Ok(())
}

pub(super) fn object(environment: &Environment) -> String {
    format!("environment {}", environment.id)
}

fn read(row: &SqliteRow) -> Result<Environment, StoreError> {
    Ok(Environment {
        number: row::number(row, "number")?,
        id: row::text(row, "id", EnvironmentId::parse)?,
        name: row::text(row, "name", Name::stored)?,
        created: row::seconds(row, "created")?,
    })
}
