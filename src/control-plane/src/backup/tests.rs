//! A backup and its way back, on files: what is refused, what stays when it is, and what is left of a database that was killed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _};

use super::*;
use crate::api::Scratch;
use crate::store::backup::save;
use crate::store::{Store, StoreError};

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

/// A data folder with an admin, `keys` keys of it, and a place for files.
struct Plane {
    scratch: Scratch,
}

impl Plane {
    async fn new(keys: u32) -> Self {
        let scratch = Scratch::new();
        fs::create_dir(scratch.path()).unwrap();
        let plane = Self { scratch };
        let folder = DataFolder::create(&plane.data()).unwrap();
        drop(Store::open(folder.database(), Clock::system()).await.unwrap());
        plane.run("INSERT INTO account (name, kind, state, created) VALUES ('root', 'admin', 'active', 1)").await;
        for _ in 0..keys {
            plane.add_key().await;
        }
        plane
    }

    fn data(&self) -> PathBuf {
        self.scratch.path().join("data")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn database(&self) -> PathBuf {
        self.data().join("keygate.db")
    }

    async fn connect(&self) -> SqliteConnection {
        SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(self.database())).await.unwrap()
    }

    async fn run(&self, sql: &str) {
        let mut connection = self.connect().await;
        sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    async fn add_key(&self) {
        self.run(
            "INSERT INTO credential (digest, access_key, account, name, state, created) \
             VALUES (randomblob(32), hex(randomblob(10)), 1, 'key', 'active', 1)",
        )
        .await;
    }

    async fn count(&self) -> i64 {
        let mut connection = self.connect().await;
        let count = sqlx::query_scalar("SELECT count(*) FROM credential").fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        count
    }

    async fn restore(&self, file: &Path) -> anyhow::Result<Replaced> {
        let found = restore::find(file, NOW).await?;
        let folder = DataFolder::prepare(&self.data())?;
        Ok(restore::stage(&folder, found, NOW).await?.put(NOW).await?)
    }

    fn names(&self, folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = entries.collect();
        names.sort();
        names
    }
}

#[tokio::test]
async fn a_backup_holds_what_is_only_in_the_journal_and_stands_by_itself() {
    let plane = Plane::new(2).await;
    // A server's connection: what it commits stays in the journal, and it is in the middle of a change.
    let mut server = plane.connect().await;
    sqlx::query("DELETE FROM credential WHERE id = 1").execute(&mut server).await.unwrap();
    let mut change = server.begin_with("BEGIN IMMEDIATE").await.unwrap();
    sqlx::query("DELETE FROM credential").execute(&mut *change).await.unwrap();
    let file = plane.file("backup");
    let contents = save(&plane.database(), &file, NOW).await.unwrap();
    assert_eq!((contents.keys, contents.revision), (1, Some(0)));
    change.commit().await.unwrap();
    assert_eq!(plane.names(plane.scratch.path()), ["backup", "data"]);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read(&file).unwrap()[18..20], [1, 1], "it is in no need of a journal");
}

#[tokio::test]
async fn a_backup_takes_no_files_place_and_leaves_nothing_when_it_fails() {
    let plane = Plane::new(1).await;
    let file = plane.file("backup");
    fs::write(&file, "precious").unwrap();
    let refused = save(&plane.database(), &file, NOW).await.unwrap_err().to_string();
    assert!(refused.contains("choose another name"), "{refused}");
    assert_eq!(fs::read(&file).unwrap(), b"precious");
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("nowhere", &file).unwrap();
    assert!(save(&plane.database(), &file, NOW).await.is_err(), "not even a link that leads nowhere");
    fs::remove_file(&file).unwrap();

    plane.run("PRAGMA foreign_keys = OFF").await;
    fs::write(plane.database(), "no database").unwrap();
    assert!(save(&plane.database(), &file, NOW).await.is_err());
    let refused = save(&plane.database(), &plane.file("no/folder"), NOW).await.unwrap_err().to_string();
    assert!(refused.contains(&format!("no folder {}", plane.file("no").display())), "{refused}");
    assert_eq!(plane.names(plane.scratch.path()), ["data"]);
}

#[tokio::test]
async fn going_back_keeps_what_was_there_and_says_which_keys_pass_again() {
    let plane = Plane::new(4).await;
    let file = plane.file("backup");
    save(&plane.database(), &file, NOW).await.unwrap();
    plane.run("UPDATE credential SET state = 'inactive' WHERE id = 2").await;
    plane.run("UPDATE credential SET expires = 5 WHERE id = 3").await;
    plane.add_key().await;
    let replaced = plane.restore(&file).await.unwrap();
    let found = replaced.difference.unwrap();
    let ids = |ids: &[KeyId]| ids.iter().map(|id| id.0).collect::<Vec<_>>();
    assert_eq!((ids(&found.again), ids(&found.no_more), ids(&found.otherwise)), (vec![2, 3], vec![5], vec![]));
    assert_eq!(plane.count().await, 4);
    let record = sqlx::query_as("SELECT time, actor, action FROM audit ORDER BY id DESC LIMIT 1");
    let record: (i64, String, String) = record.fetch_one(&mut plane.connect().await).await.unwrap();
    assert_eq!(record, (1_800_000_000, "local".to_owned(), "data.restore".to_owned()));
    let kept = "keygate.db.before-restore-20270115T080000Z";
    assert_eq!(replaced.kept, Some(plane.data().join(kept)));
    assert_eq!(plane.names(&plane.data()), ["keygate.db", kept, "lock"]);
    assert_eq!(fs::metadata(plane.database()).unwrap().permissions().mode() & 0o777, 0o600);
    // And back again: what was kept is a backup as well.
    plane.restore(&plane.data().join(kept)).await.unwrap_err().to_string();
    fs::rename(plane.data().join(kept), plane.file("kept")).unwrap();
    plane.restore(&plane.file("kept")).await.unwrap();
    assert_eq!(plane.count().await, 5);
}

#[tokio::test]
async fn the_journal_of_a_killed_server_reaches_what_is_kept_and_never_what_is_restored() {
    let plane = Plane::new(1).await;
    let file = plane.file("backup");
    save(&plane.database(), &file, NOW).await.unwrap();
    let mut server = plane.connect().await;
    sqlx::query("UPDATE credential SET state = 'inactive'").execute(&mut server).await.unwrap();
    // As after kill -9: the journal holds the change and nobody has the files open.
    let crashed = plane.file("crashed");
    fs::create_dir(&crashed).unwrap();
    for name in ["keygate.db", "keygate.db-wal"] {
        fs::copy(plane.data().join(name), crashed.join(name)).unwrap();
    }
    server.close().await.unwrap();
    assert!(fs::metadata(crashed.join("keygate.db-wal")).unwrap().len() > 0);
    fs::remove_dir_all(plane.data()).unwrap();
    fs::rename(&crashed, plane.data()).unwrap();

    let replaced = plane.restore(&file).await.unwrap();
    assert_eq!(replaced.difference.unwrap().again.len(), 1, "what is only in the journal counts");
    assert!(!plane.names(&plane.data()).iter().any(|name| name.ends_with("-wal")));
    let state = async |database: &Path| {
        let options = SqliteConnectOptions::new().filename(database).immutable(true);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query_scalar::<_, String>("SELECT state FROM credential").fetch_one(&mut connection).await.unwrap()
    };
    assert_eq!(state(&plane.database()).await, "active");
    assert_eq!(state(&replaced.kept.unwrap()).await, "inactive");
}

#[tokio::test]
async fn a_file_that_is_not_whole_or_not_ours_changes_nothing() {
    let plane = Plane::new(300).await;
    let file = plane.file("backup");
    save(&plane.database(), &file, NOW).await.unwrap();
    let good = fs::read(&file).unwrap();
    let before = (fs::read(plane.database()).unwrap(), plane.names(&plane.data()));
    let mut torn = good.clone();
    let middle = torn.len() / 2;
    torn[middle..middle + 3000].fill(0x5a);
    let altered = async |sql: &str| {
        let path = plane.file("altered");
        fs::write(&path, &good).unwrap();
        let options = SqliteConnectOptions::new().filename(&path).foreign_keys(false);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        fs::read(&path).unwrap()
    };
    for (bytes, expected) in [
        (Vec::new(), "is no database"),
        (b"#!/bin/sh".to_vec(), "is no database"),
        (good[..good.len() / 2].to_vec(), "is damaged"),
        (good[..100].to_vec(), "is"),
        (torn, "is damaged"),
        (altered("UPDATE credential SET account = 77 WHERE id = 1").await, "a row of credential refers to nothing"),
        (
            altered("UPDATE _sqlx_migrations SET version = 9999 WHERE version = 4").await,
            "made by a newer keygate; use that version",
        ),
        (altered("UPDATE _sqlx_migrations SET checksum = x'00' WHERE version = 2").await, "another schema"),
        (altered("DROP TABLE credential").await, "not one of Keygate"),
        (altered("DELETE FROM credential; DELETE FROM account").await, "never initialized"),
    ] {
        let bad = plane.file("bad");
        fs::write(&bad, bytes).unwrap();
        let refused = plane.restore(&bad).await.map_or_else(|error| format!("{error:#}"), |_| "it was restored".to_owned());
        assert!(refused.contains(expected) && refused.contains("nothing was changed"), "{expected}: {refused}");
        assert_eq!((fs::read(plane.database()).unwrap(), plane.names(&plane.data())), before, "{expected}");
    }
    assert!(format!("{:#}", plane.restore(&plane.file("absent")).await.unwrap_err()).contains("absent"));
    fs::write(plane.file("backup-wal"), "x").unwrap();
    assert!(plane.restore(&file).await.unwrap_err().to_string().contains("keygate backup"));
}

#[tokio::test]
async fn what_cannot_be_read_is_put_aside_as_it_is() {
    let plane = Plane::new(1).await;
    let file = plane.file("backup");
    save(&plane.database(), &file, NOW).await.unwrap();
    fs::write(plane.database(), "ruined").unwrap();
    let refused = Store::open(&plane.database(), Clock::system()).await.err().unwrap().to_string();
    assert!(refused.contains("keygate restore"), "{refused}");
    let replaced = plane.restore(&file).await.unwrap();
    let kept = replaced.kept.clone().unwrap();
    assert_eq!(fs::read(&kept).unwrap(), b"ruined");
    let said = warnings(&plane.data(), &Contents::default(), &replaced).join("\n");
    assert!(said.contains("cannot be read") && said.contains("A password that was changed since"), "{said}");
    assert_eq!(plane.count().await, 1);
}

#[tokio::test]
async fn a_database_with_a_damaged_page_is_not_served() {
    let plane = Plane::new(300).await;
    let mut bytes = fs::read(plane.database()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 3000].fill(0x5a);
    fs::write(plane.database(), bytes).unwrap();
    let refused = Store::open(&plane.database(), Clock::system()).await.err().unwrap();
    assert!(matches!(refused, StoreError::Torn(_) | StoreError::Storage(_)), "{refused:?}");
    assert!(refused.to_string().contains("damaged") && refused.to_string().contains("keygate restore"), "{refused}");
}

#[tokio::test]
async fn a_folder_that_is_not_there_yet_can_be_restored_into_but_one_in_use_not() {
    let plane = Plane::new(1).await;
    let file = plane.file("backup");
    save(&plane.database(), &file, NOW).await.unwrap();
    let options = |data| RestoreOptions { file: file.clone(), data };
    fs::write(plane.file("bad"), "no database").unwrap();
    let bad = RestoreOptions { file: plane.file("bad"), data: plane.file("a/new/one") };
    restore(bad, OutputFormat::Json).await.unwrap_err();
    assert!(!plane.file("a").exists(), "nothing is made for what cannot be used");
    restore(options(plane.file("a/new/one")), OutputFormat::Json).await.unwrap();
    assert_eq!(plane.names(&plane.file("a/new/one")), ["keygate.db", "lock"]);
    let used = DataFolder::open(&plane.data()).unwrap();
    let refused = restore(options(plane.data()), OutputFormat::Json).await.unwrap_err().to_string();
    assert!(refused.contains("another keygate uses"), "{refused}");
    drop(used);
    // Somebody looks at the data with another program.
    let mut other = plane.connect().await;
    let mut look = other.begin().await.unwrap();
    sqlx::query("SELECT * FROM credential").fetch_all(&mut *look).await.unwrap();
    sqlx::query("UPDATE credential SET name = 'x'").execute(&mut *look).await.unwrap();
    let refused = restore(options(plane.data()), OutputFormat::Json).await.unwrap_err().to_string();
    assert!(refused.contains("another program"), "{refused}");
}

#[test]
fn long_lists_are_cut_for_people() {
    let ids: Vec<KeyId> = (1..=60).map(KeyId).collect();
    let line = listed("pass again", "look", &ids);
    assert!(line.contains(" 1, 2,") && line.contains("50 and 10 more") && !line.contains("51"), "{line}");
    assert_eq!(listed("pass again", "look", &[]), "Keys that pass again: none.");
}

#[tokio::test]
async fn logins_do_not_come_back() {
    let plane = Plane::new(1).await;
    let file = plane.file("backup");
    plane
        .run(
            "INSERT INTO credential (digest, purpose, account, name, state, created, expires) \
             VALUES (randomblob(32), 'login', 1, 'login', 'active', 1, 9999999999)",
        )
        .await;
    plane.add_key().await;
    plane.run("UPDATE credential SET expires = 5 WHERE id = 3").await;
    assert_eq!(save(&plane.database(), &file, NOW).await.unwrap().keys, 1, "what passes after it");
    let folder = DataFolder::prepare(&plane.data()).unwrap();
    let found = restore::find(&file, NOW).await.unwrap();
    let staged = restore::stage(&folder, found, NOW).await.unwrap();
    assert_eq!(staged.contents().keys, 1, "the same");
    staged.put(NOW).await.unwrap();
    assert_eq!(plane.count().await, 2);
    let names = plane.names(&plane.data());
    assert!(names.iter().all(|name| !name.contains("restoring")), "{names:?}");
}

/// As long as an edge may have been told to go on, it is not closed.
#[tokio::test]
async fn how_long_a_proxy_may_go_on_is_not_forgotten() {
    const LONGEST: i64 = 30 * 24 * 60 * 60;
    let plane = Plane::new(1).await;
    let file = plane.file("backup");
    plane
        .run("INSERT INTO proxy (name, staleness_limit_seconds, first_seen) VALUES ('raised', 60, 1), ('forgotten', 60, 1)")
        .await;
    save(&plane.database(), &file, NOW).await.unwrap();
    plane.run("DELETE FROM proxy WHERE name = 'forgotten'").await;
    plane.run("UPDATE proxy SET staleness_limit_seconds = 3600 WHERE name = 'raised'").await;
    plane.run("INSERT INTO proxy (name, staleness_limit_seconds, first_seen) VALUES ('new', 600, 2)").await;
    let folder = DataFolder::prepare(&plane.data()).unwrap();
    let found = restore::find(&file, NOW).await.unwrap();
    restore::stage(&folder, found, NOW).await.unwrap().put(NOW).await.unwrap();
    drop(folder);
    let limits = async |database: &Path| -> Vec<(String, i64)> {
        let options = SqliteConnectOptions::new().filename(database);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        let rows = sqlx::query_as("SELECT name, staleness_limit_seconds FROM proxy ORDER BY name");
        rows.fetch_all(&mut connection).await.unwrap()
    };
    let known = |rows: &[(&str, i64)]| rows.iter().map(|(name, limit)| ((*name).to_owned(), *limit)).collect::<Vec<_>>();
    assert_eq!(limits(&plane.database()).await, known(&[("forgotten", LONGEST), ("new", 600), ("raised", 3600)]));
    // Where there is nothing to learn it from, the longest limit that there is may have been told.
    let elsewhere = DataFolder::prepare(&plane.file("elsewhere")).unwrap();
    let found = restore::find(&file, NOW).await.unwrap();
    restore::stage(&elsewhere, found, NOW).await.unwrap().put(NOW).await.unwrap();
    assert_eq!(limits(elsewhere.database()).await, known(&[("forgotten", LONGEST), ("raised", LONGEST)]));
}

#[tokio::test]
async fn nobody_is_told_that_waits_cover_proxies_which_cannot_be_read() {
    for (readable, expected) in [(true, "Waits cover every proxy"), (false, "is not waited for until it connects again")] {
        let plane = Plane::new(1).await;
        let file = plane.file("backup");
        save(&plane.database(), &file, NOW).await.unwrap();
        if !readable {
            plane.run("ALTER TABLE proxy RENAME TO gone").await;
        }
        let replaced = plane.restore(&file).await.unwrap();
        assert!(replaced.difference.is_some(), "the keys can be compared");
        let said = warnings(&plane.data(), &Contents::default(), &replaced).join("\n");
        assert!(said.contains(expected), "{said}");
    }
}

#[tokio::test]
async fn what_can_be_read_only_once_is_no_backup() {
    let refused = restore::find(Path::new("/dev/null"), NOW).await.unwrap_err().to_string();
    assert!(refused.contains("to a file first") && refused.contains("nothing was changed"), "{refused}");
}
