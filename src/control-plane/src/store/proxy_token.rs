//! Join tokens in storage: their digests, never their text. It does not ask who may do what.

use keygate_decision::Digest;
use serde_json::json;
use sqlx::sqlite::SqliteRow;

use super::{Change, Connection, StoreError, row};
use crate::model::{ProxyToken, TokenState};
use crate::name::{Description, ProxyName};
use crate::push::TokenStanding;

/// Tokens that exist.
macro_rules! tokens {
    ($rest:literal) => {
        concat!("SELECT id, proxy, description, state, created FROM proxy_token WHERE state <> 'removed' AND ", $rest)
    };
}

/// Finds a token.
pub(crate) async fn find(connection: &mut Connection, id: u64) -> Result<Option<ProxyToken>, StoreError> {
    let row = sqlx::query(tokens!("id = $1")).bind(row::integer(id)).fetch_optional(connection).await?;
    row.as_ref().map(read).transpose()
}

/// All tokens, or those of one proxy, oldest first.
pub(crate) async fn list(connection: &mut Connection, proxy: Option<&ProxyName>) -> Result<Vec<ProxyToken>, StoreError> {
    let query = sqlx::query(tokens!("($1 IS NULL OR proxy = $1) ORDER BY id")).bind(proxy.map(ProxyName::as_str));
    query.fetch_all(connection).await?.iter().map(read).collect()
}

/// How a proxy's name stands with the digest of what it shows, or with nothing.
pub(super) async fn standing(
    connection: &mut Connection,
    proxy: &str,
    digest: Option<&Digest>,
) -> Result<TokenStanding, StoreError> {
    let Some(digest) = digest else {
        let query = sqlx::query(tokens!("proxy = $1 LIMIT 1")).bind(proxy);
        let had_one = query.fetch_optional(connection).await?.is_some();
        return Ok(if had_one { TokenStanding::Lacking } else { TokenStanding::Untold });
    };
    let query = sqlx::query(tokens!("digest = $1")).bind(digest.as_bytes().as_slice());
    let token = query.fetch_optional(connection).await?.as_ref().map(read).transpose()?;
    Ok(match token {
        None => TokenStanding::Unknown,
        Some(token) if token.proxy.as_str() != proxy => TokenStanding::OfAnother,
        Some(ProxyToken { id, state: TokenState::Active, .. }) => TokenStanding::Active(id),
        Some(ProxyToken { id, state: TokenState::Revoked, .. }) => TokenStanding::Revoked(id),
    })
}

/// Makes an active token. Its text stays with whoever drew it.
pub(crate) async fn create(
    change: &mut Change<'_>,
    proxy: ProxyName,
    description: Option<Description>,
    digest: &Digest,
) -> Result<ProxyToken, StoreError> {
    let created = change.now();
    let row = sqlx::query(
        "INSERT INTO proxy_token (proxy, digest, description, state, created) VALUES ($1, $2, $3, 'active', $4) RETURNING id",
    )
    .bind(proxy.as_str())
    .bind(digest.as_bytes().as_slice())
    .bind(description.as_ref().map(Description::as_str))
    .bind(row::integer(created.0))
    .fetch_one(change.connection())
    .await?;
    let token = ProxyToken { id: row::number(&row, "id")?, proxy, description, state: TokenState::Active, created };
    audit(change, "proxy_token.create", &token);
    Ok(token)
}

/// Stops a token for good.
pub(crate) async fn revoke(change: &mut Change<'_>, token: &ProxyToken) -> Result<(), StoreError> {
    sqlx::query("UPDATE proxy_token SET state = 'revoked' WHERE id = $1 AND state = 'active'")
        .bind(row::integer(token.id))
        .execute(change.connection())
        .await?;
    audit(change, "proxy_token.revoke", token);
    Ok(())
}

/// Removes all tokens of a proxy that is forgotten; gives their ids.
pub(crate) async fn remove_all(change: &mut Change<'_>, proxy: &str) -> Result<Vec<u64>, StoreError> {
    let query = sqlx::query("UPDATE proxy_token SET state = 'removed' WHERE proxy = $1 AND state <> 'removed' RETURNING id");
    let rows = query.bind(proxy).fetch_all(change.connection()).await?;
    rows.iter().map(|row| row::number(row, "id")).collect()
}

fn audit(change: &mut Change<'_>, action: &'static str, token: &ProxyToken) {
    let detail = json!({"proxy": token.proxy.as_str(), "description": token.description.as_ref().map(Description::as_str)});
    change.audit(action, format!("proxy token {}", token.id), &detail);
}

fn read(row: &SqliteRow) -> Result<ProxyToken, StoreError> {
    Ok(ProxyToken {
        id: row::number(row, "id")?,
        proxy: row::text(row, "proxy", ProxyName::parse)?,
        description: row::optional_text(row, "description", Description::stored)?.flatten(),
        state: row::text(row, "state", TokenState::parse)?,
        created: row::seconds(row, "created")?,
    })
}
