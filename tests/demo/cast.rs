//! Who plays in the demo: two environments, a user who is a member of one of them, and their keys. A former run's are found
//! and reactivated; only what is missing is made.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use harness::{Cli, Key};
use serde_json::Value;

use crate::notes::Notes;

pub(crate) const PRODUCTION: &str = "1a5";
pub(crate) const STAGING: &str = "1a6";
pub(crate) const USER: &str = "alice";

/// The keys of the demo.
pub(crate) struct Cast {
    /// The user's, who is a member of production.
    pub(crate) alice: Key,
    /// Production's own.
    pub(crate) production: Key,
    /// Staging's own.
    pub(crate) staging: Key,
    /// The user's too, but of yesterday.
    pub(crate) expired: Key,
}

impl Cast {
    pub(crate) async fn find_or_make(cli: &Cli, notes: &mut Notes) -> Result<Self> {
        for (variable, id, name) in
            [("PRODUCTION_ENVIRONMENT", PRODUCTION, "production"), ("STAGING_ENVIRONMENT", STAGING, "staging")]
        {
            if find(cli, &["environment", "list"], "id", id).await?.is_none() {
                cli.text(&["environment", "create", "--id", id, "--name", name]).await?;
            }
            notes.set(variable, id);
        }
        make_user(cli).await?;
        let cast = Self {
            alice: key(cli, notes, "ALICE", &["--account", USER, "--name", "demo"]).await?,
            production: key(cli, notes, "PRODUCTION", &["--environment", PRODUCTION, "--name", "demo"]).await?,
            staging: key(cli, notes, "STAGING", &["--environment", STAGING, "--name", "demo"]).await?,
            expired: key(cli, notes, "EXPIRED", &["--account", USER, "--name", "demo-expired", "--ttl", "1s"]).await?,
        };
        wait_for_expiry(cli, &cast.expired).await?;
        Ok(cast)
    }
}

async fn make_user(cli: &Cli) -> Result<()> {
    match find(cli, &["account", "list"], "name", USER).await? {
        None => {
            cli.text(&["account", "create", "--name", USER, "--kind", "user"]).await?;
        }
        Some(account) if !is_active(&account) => {
            cli.text(&["account", "activate", USER]).await?;
        }
        Some(_) => (),
    }
    // Whatever role a visitor gave the user meanwhile, this is the one that the examples count on.
    cli.text(&["member", "add", "--environment", PRODUCTION, "--account", USER, "--role", "member"]).await?;
    Ok(())
}

/// The key that a former run noted, active again, or a new one. A secret is shown only at creation, so a new one is noted at
/// once.
async fn key(cli: &Cli, notes: &mut Notes, prefix: &str, arguments: &[&str]) -> Result<Key> {
    if let Some(key) = notes.key(prefix)
        && let Some(found) = find(cli, &["key", "list"], "id", &key.id).await?
    {
        if !is_active(&found) {
            cli.text(&["key", "activate", &key.id]).await?;
        }
        return Ok(key);
    }
    let key = cli.create_key(arguments).await?;
    notes.set_key(prefix, &key);
    notes.save()?;
    Ok(key)
}

async fn wait_for_expiry(cli: &Cli, key: &Key) -> Result<()> {
    let shown = cli.json(&["key", "show", &key.id]).await?;
    let expires = shown.get("expires").and_then(Value::as_str);
    let expires = humantime::parse_rfc3339(expires.context("the expired key has no expiry")?)?;
    let left = expires.duration_since(SystemTime::now()).unwrap_or(Duration::ZERO);
    tokio::time::sleep(left).await;
    Ok(())
}

/// The first object of a list whose `field` is `value`, as text or as a number.
async fn find(cli: &Cli, list: &[&str], field: &str, value: &str) -> Result<Option<Value>> {
    let listed = cli.json(list).await?;
    let objects = listed.as_array().context("a list that is no array")?;
    let matches = |object: &&Value| match object.get(field) {
        Some(Value::String(text)) => text == value,
        Some(Value::Number(number)) => number.to_string() == value,
        _ => false,
    };
    Ok(objects.iter().find(matches).cloned())
}

fn is_active(object: &Value) -> bool {
    object.get("state").and_then(Value::as_str) == Some("active")
}
