//! Data folders with very many keys. `keygate init` makes them; the keys are then inserted into the database directly, with the server
//! stopped, because a million creations by the API would take longer than all the rest. What creations cost is measured on its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use harness::{ControlPlane, Key, free_port, project};
use keygate_decision::key::KeyPair;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, QueryBuilder, Sqlite, SqliteConnection};

use crate::keys::{ABROAD, HOME, Keys};

/// Rows of one INSERT; SQLite takes 32766 values in a statement.
const ROWS: usize = 2000;
/// The admin's account has number 1.
const FIRST_ACCOUNT: usize = 2;
/// Far behind the admin's key.
const FIRST_KEY: usize = 1001;
/// Any time will do.
const CREATED: i64 = 1_767_225_600;

/// A data folder with keys. It is never served from itself but from copies, so that each measurement begins with the same.
pub(crate) struct Data {
    folder: PathBuf,
    admin: Key,
    pub(crate) keys: Keys,
}

/// The number of a key at the control plane.
pub(crate) fn key_id(key: usize) -> usize {
    FIRST_KEY + key
}

/// The name of an account at the control plane.
pub(crate) fn account_name(account: usize) -> String {
    format!("user-{account}")
}

/// An empty folder of the benchmark's own.
pub(crate) fn folder(name: &str) -> Result<PathBuf> {
    let folder = project().join("var/bench").join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("emptying {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    Ok(folder)
}

impl Data {
    /// Makes one.
    pub(crate) async fn fill(keys: Keys) -> Result<Self> {
        let folder = folder(&format!("data-{}", keys.count))?.join("data");
        let admin = ControlPlane::init(&folder).await?;
        let options = SqliteConnectOptions::new().filename(folder.join("keygate.db"));
        let mut connection = options.connect().await.context("opening the database")?;
        insert(&mut connection, keys).await.context("filling the database")?;
        // Leaves everything in the one file that is copied.
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await?;
        connection.close().await?;
        Ok(Self { folder, admin, keys })
    }

    /// How many keys there are, to say what went wrong with them.
    pub(crate) fn described(&self) -> String {
        format!("with {} keys", self.keys.count)
    }

    /// Serves a copy, and waits until it is ready.
    pub(crate) async fn serve(&self, name: &str) -> Result<ControlPlane> {
        let copy = folder(name)?;
        let data = copy.join("data");
        copy_folder(&self.folder, &data)?;
        ControlPlane::over(&data, &copy.join("keygate.log"), free_port()?, free_port()?, self.admin.clone()).await
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        // What cannot be removed is removed by the next run.
        let _ = self.folder.parent().map(fs::remove_dir_all);
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    // As `init` leaves it: nobody else may look inside.
    fs::set_permissions(to, fs::metadata(from)?.permissions())?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let copy = to.join(entry.file_name());
        fs::copy(entry.path(), &copy).with_context(|| format!("copying {}", entry.path().display()))?;
        // Or the first checkpoint of what is measured writes all of it.
        File::open(copy)?.sync_all()?;
    }
    Ok(())
}

async fn insert(connection: &mut SqliteConnection, keys: Keys) -> Result<()> {
    let mut change = connection.begin().await?;
    let mut environments = QueryBuilder::<Sqlite>::new("INSERT INTO environment (number, id, name, state, created) ");
    environments.push_values([HOME, ABROAD].iter().enumerate(), |mut row, (index, id)| {
        row.push_bind(number(index + 1)).push_bind(*id).push_bind(*id).push_bind("active").push_bind(CREATED);
    });
    environments.build().execute(&mut *change).await?;
    let mut accounts = QueryBuilder::<Sqlite>::new("INSERT INTO account (id, name, kind, state, created) ");
    accounts.push_values(0..keys.accounts(), |mut row, account| {
        let (id, name) = (number(FIRST_ACCOUNT + account), account_name(account));
        row.push_bind(id).push_bind(name).push_bind("user").push_bind("active").push_bind(CREATED);
    });
    accounts.build().execute(&mut *change).await?;
    let mut memberships = QueryBuilder::<Sqlite>::new("INSERT INTO membership (environment, account, role, created) ");
    memberships.push_values(0..keys.accounts(), |mut row, account| {
        row.push_bind(1_i64).push_bind(number(FIRST_ACCOUNT + account)).push_bind("member").push_bind(CREATED);
    });
    memberships.build().execute(&mut *change).await?;
    let numbers: Vec<usize> = (0..=keys.of_environment()).collect();
    for numbers in numbers.chunks(ROWS) {
        let pairs = numbers.iter().map(|key| Ok((*key, keys.pair(*key)?))).collect::<Result<Vec<(usize, KeyPair)>>>()?;
        let mut rows = QueryBuilder::<Sqlite>::new(
            "INSERT INTO credential (id, digest, access_key, account, environment, name, state, created) ",
        );
        rows.push_values(pairs, |mut row, (key, pair)| {
            let of_environment = key == keys.of_environment();
            row.push_bind(number(key_id(key)))
                .push_bind(pair.digest().as_bytes().to_vec())
                .push_bind(pair.access.as_str().to_owned())
                .push_bind((!of_environment).then(|| number(FIRST_ACCOUNT + keys.account(key))))
                .push_bind(of_environment.then_some(1_i64))
                .push_bind("benchmark")
                .push_bind("active")
                .push_bind(CREATED);
        });
        rows.build().execute(&mut *change).await?;
    }
    Ok(change.commit().await?)
}

/// A number as SQLite stores it.
fn number(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
