//! Whether a database file is whole and Keygate's, and what it holds. It opens files that nobody else has open, and writes nothing, not
//! even beside them.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use keygate_decision::{Digest, Grant, KeyId, UnixSeconds};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, Row as _};

use super::{Connection, StoreError, account, compile, history, login, row};

/// What a whole database holds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Contents {
    /// The newest revision of its table; none if it is so old that it does not say.
    pub(crate) revision: Option<u64>,
    /// How many keys and tokens may pass; logins are not among them, for a restore ends them.
    pub(crate) keys: u64,
    /// The second of the last change that is recorded.
    pub(crate) last_change: Option<UnixSeconds>,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfit {
    #[error("is no database")]
    NoDatabase,
    #[error("is damaged: {0}")]
    Damaged(String),
    #[error("is a database, but not one of Keygate")]
    Foreign,
    #[error("holds no account: it was never initialized")]
    Empty,
    #[error("has another schema than keygate gives it (migration {0})")]
    Altered(i64),
    #[error("{0}")]
    Store(StoreError),
}

impl From<StoreError> for Unfit {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Storage(error) => error.into(),
            StoreError::Damaged { .. } => Self::Damaged(error.to_string()),
            other => Self::Store(other),
        }
    }
}

impl From<sqlx::Error> for Unfit {
    fn from(error: sqlx::Error) -> Self {
        match super::code(&error) {
            Some(super::NOT_A_DATABASE) => Self::NoDatabase,
            Some(super::CORRUPT) => Self::Damaged(error.to_string()),
            _ => Self::Store(error.into()),
        }
    }
}

/// Reads a database file from its first page to its last, and counts what may pass at the second `now`. It must stand by itself,
/// without a journal beside it.
pub(crate) async fn inspect(file: &Path, now: UnixSeconds) -> Result<Contents, Unfit> {
    let mut connection = open(file).await?;
    check_pages(&mut connection).await?;
    let versions = check_schema(&mut connection).await?;
    if !account::any(&mut connection).await? {
        return Err(Unfit::Empty);
    }
    let revision = if versions >= SCHEMA_WITH_HEAD { Some(history::revision(&mut connection).await?) } else { None };
    let logins = logins(&mut connection).await?;
    let mut keys = 0;
    let count = |_, grant: Grant| {
        if passes(&grant, now) && !logins.contains(&grant.key) {
            keys += 1;
        }
    };
    compile::each(&mut connection, count).await?;
    let last_change = sqlx::query("SELECT max(time) AS time FROM audit").fetch_one(&mut connection).await?;
    let last_change = row::optional_seconds(&last_change, "time")?;
    connection.close().await?;
    Ok(Contents { revision, keys, last_change })
}

/// From this migration on a database says which revision is its newest.
const SCHEMA_WITH_HEAD: i64 = 2;

/// Fails if a page is damaged or a row refers to one that is not there.
async fn check_pages(connection: &mut Connection) -> Result<(), Unfit> {
    let found: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check(3)").fetch_all(&mut *connection).await?;
    if found != ["ok"] {
        return Err(Unfit::Damaged(found.join("; ")));
    }
    let dangling = sqlx::query("PRAGMA foreign_key_check").fetch_optional(connection).await?;
    match dangling {
        Some(row) => Err(Unfit::Damaged(format!("a row of {} refers to nothing", row.try_get::<String, _>(0)?))),
        None => Ok(()),
    }
}

/// The newest migration that was applied; all are known, and as they are here.
async fn check_schema(connection: &mut Connection) -> Result<i64, Unfit> {
    let ours = sqlx::query("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name IN ('_sqlx_migrations', 'credential')");
    if ours.fetch_all(&mut *connection).await?.len() != 2 {
        return Err(Unfit::Foreign);
    }
    let known: HashMap<i64, Vec<u8>> =
        sqlx::migrate!().iter().map(|migration| (migration.version, migration.checksum.to_vec())).collect();
    let rows = sqlx::query("SELECT version, checksum, success FROM _sqlx_migrations ORDER BY version");
    let mut newest = 0;
    for row in rows.fetch_all(connection).await? {
        let version = row.try_get("version")?;
        let checksum = known.get(&version).ok_or(StoreError::Newer)?;
        if *checksum != row.try_get::<Vec<u8>, _>("checksum")? || !row.try_get::<bool, _>("success")? {
            return Err(Unfit::Altered(version));
        }
        newest = version;
    }
    Ok(newest)
}

/// What keys may do in one database and not in another, by their ids there.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    /// These pass after, and did not before.
    pub(crate) again: Vec<KeyId>,
    /// These passed before, and do not after.
    pub(crate) no_more: Vec<KeyId>,
    /// These pass before and after, for other things.
    pub(crate) otherwise: Vec<KeyId>,
}

/// Compares which keys pass at the second `now` by two databases that nobody has open.
pub(crate) async fn compare(before: &Path, after: &Path, now: UnixSeconds) -> Result<Difference, Unfit> {
    let (before, after) = (table(before, now).await?, table(after, now).await?);
    let mut found = Difference::default();
    for (digest, grant) in &after {
        match before.get(digest) {
            None => found.again.push(grant.key),
            Some(former) if former != grant => found.otherwise.push(grant.key),
            Some(_) => {}
        }
    }
    found.no_more = before.iter().filter(|(digest, _)| !after.contains_key(digest)).map(|(_, grant)| grant.key).collect();
    for ids in [&mut found.again, &mut found.no_more, &mut found.otherwise] {
        ids.sort_unstable_by_key(|id| id.0);
    }
    Ok(found)
}

async fn table(file: &Path, now: UnixSeconds) -> Result<HashMap<Digest, Grant>, Unfit> {
    let mut connection = open(file).await?;
    let mut table = HashMap::new();
    let take = |digest, grant: Grant| {
        if passes(&grant, now) {
            table.insert(digest, grant);
        }
    };
    compile::each(&mut connection, take).await?;
    connection.close().await?;
    Ok(table)
}

/// Which credentials are logins.
async fn logins(connection: &mut Connection) -> Result<HashSet<KeyId>, StoreError> {
    if !login::are_known(connection).await? {
        return Ok(HashSet::new());
    }
    let rows = sqlx::query("SELECT id FROM credential WHERE purpose = 'login'").fetch_all(connection).await?;
    rows.iter().map(|row| row::number(row, "id").map(KeyId)).collect()
}

fn passes(grant: &Grant, now: UnixSeconds) -> bool {
    grant.expires_at.is_none_or(|end| now < end)
}

async fn open(file: &Path) -> Result<Connection, Unfit> {
    Ok(SqliteConnectOptions::new().filename(file).read_only(true).immutable(true).connect().await?)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::api::Scratch;
    use crate::clock::Clock;
    use crate::store::{Store, caller};

    #[tokio::test]
    async fn a_database_from_before_logins_is_read_as_it_is_and_brought_up_to_date() {
        let scratch = Scratch::new();
        std::fs::create_dir(scratch.path()).unwrap();
        let file = scratch.path().join("old.db");
        let mut old = SqliteConnectOptions::new().filename(&file).create_if_missing(true).connect().await.unwrap();
        let mut migrations = sqlx::migrate!();
        migrations.migrations = Cow::Owned(migrations.iter().filter(|migration| migration.version < 6).cloned().collect());
        migrations.run(&mut old).await.unwrap();
        let digest = Digest::of("0123456789ABCDEF0123:secret");
        sqlx::query("INSERT INTO account (name, kind, state, created) VALUES ('root', 'admin', 'active', 1)")
            .execute(&mut old)
            .await
            .unwrap();
        for state in ["active", "removed"] {
            let insert =
                "INSERT INTO credential (digest, access_key, account, name, state, created) VALUES ($1, $2, 1, 'k', $3, 1)";
            let (digest, access) = if state == "active" { (digest, "0123456789ABCDEF0123") } else { (Digest::of("x"), "F") };
            sqlx::query(insert).bind(digest.as_bytes().as_slice()).bind(access).bind(state).execute(&mut old).await.unwrap();
        }
        old.close().await.unwrap();
        assert_eq!(inspect(&file, UnixSeconds(2)).await.unwrap().keys, 1);

        let (store, _writer) = Store::open(&file, Clock::system()).await.unwrap();
        let mut reader = store.read().await.unwrap();
        let caller = caller::identify(&mut reader, &digest, UnixSeconds(2)).await.unwrap();
        assert_eq!(caller.map(|caller| caller.key), Some(KeyId(1)));
        assert_eq!(compile::table(&mut reader).await.unwrap().len(), 1);
    }
}
