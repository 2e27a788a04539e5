//! What whoever waits for the writer may rely on, seen from inside storage: what is noted when the answers go out.

use std::sync::atomic::AtomicU64;

use keygate_decision::{Digest, UnixSeconds};

use super::login::NewLogin;
use super::*;
use crate::api::Scratch;
use crate::model::Kind;
use crate::name::AccountName;

/// Notes, when its answer is given or dropped, whether storage is said to fail.
struct Witness {
    signals: Arc<Signals>,
    noted: mpsc::UnboundedSender<bool>,
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.noted.send(self.signals.failing.load(Ordering::Acquire)).unwrap();
    }
}

#[tokio::test]
async fn whether_storage_fails_is_noted_before_anybody_is_answered() {
    let scratch = Scratch::new();
    let folder = DataFolder::create(scratch.path()).unwrap();
    let (store, writer) = Store::open(folder.database(), Clock::system()).await.unwrap();
    let mut writer = writer.spawn(|_, _| Ok(())).unwrap();
    let (noted, mut notes) = mpsc::unbounded_channel();
    let change = async |sql: &'static str| {
        let witness = Witness { signals: store.signals.clone(), noted: noted.clone() };
        let operation = async move |change: &mut Change<'_>| {
            sqlx::query(sql).execute(change.connection()).await?;
            Ok::<_, StoreError>(witness)
        };
        store.write(Actor::Local, operation).await.map(|written| drop(written.value))
    };
    // A savepoint that is gone is no longer there to be released: the batch fails behind its operation's back.
    assert!(change("ROLLBACK").await.is_err());
    assert_eq!(notes.recv().await, Some(true));
    change("SELECT 1").await.unwrap();
    assert_eq!(notes.recv().await, Some(false));
    store.stop().await;
    writer.ended().await.unwrap();
}

#[tokio::test]
async fn old_audit_records_and_changes_go_a_few_at_a_time_while_changes_are_made() {
    const NOW: u64 = 1_800_000_000;
    let scratch = Scratch::new();
    let folder = DataFolder::create(scratch.path()).unwrap();
    let clock = Clock::manual(Arc::new(AtomicU64::new(NOW)));
    let (store, mut writer) = Store::open(folder.database(), clock.clone()).await.unwrap();
    for sql in [
        "INSERT INTO audit (time, actor, action, object, detail) SELECT $1 - 400 * 86400 + n - 11000, '', '', '', ''",
        "INSERT INTO change (revision, digest, time) SELECT n, randomblob(32), $1 - 7 * 86400 + n - 11000",
    ] {
        let numbers = format!(
            "{sql} FROM (WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 12000) SELECT n FROM n)"
        );
        sqlx::query(sqlx::AssertSqlSafe(numbers))
            .bind(row::integer(NOW))
            .execute(writer.connection().await.unwrap())
            .await
            .unwrap();
    }
    sqlx::query("UPDATE head SET revision = 12000").execute(writer.connection().await.unwrap()).await.unwrap();
    drop((store, writer));
    let (store, mut writer) = Store::open(folder.database(), clock).await.unwrap();
    writer.trim(400);
    let mut thread = writer.spawn(|_, _| Ok(())).unwrap();
    let left = async |table: &str| {
        let query = format!("SELECT count(*) FROM {table}");
        let mut connection = store.read().await.unwrap();
        sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(query)).fetch_one(&mut *connection).await.unwrap()
    };
    let trimmed = async |table: &str| {
        while left(table).await != 1001 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let expected = "what is too old goes, nothing else";
    tokio::time::timeout(Duration::from_secs(20), trimmed("change")).await.expect(expected);
    assert_eq!(left("audit").await, 12_000, "the clock may not be right yet");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(60 * 60)).await;
    tokio::time::resume();
    tokio::time::timeout(Duration::from_secs(20), trimmed("audit")).await.expect(expected);
    assert_eq!(left("change").await, 1001);
    let counts = store.counts();
    assert_eq!((counts.trimmed_audit.get(), counts.trimmed_changes.get()), (10_999, 10_999));
    store.stop().await;
    thread.ended().await.unwrap();
}

#[tokio::test]
async fn audit_records_go_at_once_where_the_newest_shows_that_the_clock_can_be_right() {
    const NOW: u64 = 1_800_000_000;
    const DAY: u64 = 24 * 60 * 60;
    for (newest_days_ago, left) in [(1, 1), (30, 2)] {
        let scratch = Scratch::new();
        let folder = DataFolder::create(scratch.path()).unwrap();
        let (store, mut writer) = Store::open(folder.database(), Clock::system()).await.unwrap();
        let connection = writer.connection().await.unwrap();
        for days_ago in [500, newest_days_ago] {
            let record = sqlx::query("INSERT INTO audit (time, actor, action, object, detail) VALUES ($1, '', '', '', '')");
            record.bind(row::integer(NOW - days_ago * DAY)).execute(&mut *connection).await.unwrap();
        }
        trim::Trimming::new(400).step(connection, 0, keygate_decision::UnixSeconds(NOW), store.counts()).await.unwrap();
        let count = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM audit").fetch_one(connection).await.unwrap();
        assert_eq!(count, left, "{newest_days_ago}");
    }
}

#[tokio::test]
async fn no_journal_is_left_by_a_server_that_stopped_while_somebody_read() {
    let scratch = Scratch::new();
    let folder = DataFolder::create(scratch.path()).unwrap();
    for round in 0..20 {
        let (store, writer) = Store::open(folder.database(), Clock::system()).await.unwrap();
        let mut writer = writer.spawn(|_, _| Ok(())).unwrap();
        let change = async |change: &mut Change<'_>| {
            sqlx::query("INSERT INTO probe (bytes) VALUES (randomblob(10))").execute(change.connection()).await?;
            Ok::<_, StoreError>(())
        };
        store.write(Actor::Local, change).await.unwrap();
        let mut reader = store.read().await.unwrap();
        history::revision(&mut reader).await.unwrap();
        let closed = async {
            store.readers.close_event().await;
            tokio::task::yield_now().await;
            drop(reader);
        };
        tokio::join!(store.stop(), closed);
        writer.ended().await.unwrap();
        let journal = folder.database().with_extension("db-wal");
        assert!(!journal.exists(), "round {round}: {} is left", journal.display());
    }
}

#[tokio::test]
async fn whoever_reads_little_finds_a_reader_beside_all_who_read_much() {
    let scratch = Scratch::new();
    let folder = DataFolder::create(scratch.path()).unwrap();
    let (store, _writer) = Store::open(folder.database(), Clock::system()).await.unwrap();
    let mut long = Vec::new();
    for _ in 0..LONG_READS {
        long.push(store.read_long().await.unwrap());
    }
    let other = store.clone();
    let next = tokio::spawn(async move { other.read_long().await.map(drop) });
    tokio::task::yield_now().await;
    assert!(!next.is_finished(), "one more than may");
    history::revision(&mut store.read().await.unwrap()).await.unwrap();
    long.pop();
    next.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_login_that_makes_room_for_another_is_in_the_record() {
    let scratch = Scratch::new();
    let folder = DataFolder::create(scratch.path()).unwrap();
    let (store, writer) = Store::open(folder.database(), Clock::system()).await.unwrap();
    let mut writer = writer.spawn(|_, _| Ok(())).unwrap();
    let log_in = async move |change: &mut Change<'_>| {
        let account = account::create(change, &AccountName::parse("alice").unwrap(), Kind::User).await?;
        let expires = UnixSeconds(change.now().0 + 60);
        let mut ids = Vec::new();
        for number in 0..=200_u32 {
            let digest = Digest::of(&number.to_string());
            ids.push(login::create(change, &account, NewLogin { digest, label: None, description: None, expires }).await?.id);
        }
        Ok::<_, StoreError>((account.id, ids))
    };
    let (account, ids) = store.write(Actor::Local, log_in).await.unwrap().value;
    let mut reader = store.read().await.unwrap();
    assert_eq!(login::list(&mut reader, Some(account), store.clock().now()).await.unwrap().len(), 200);
    let everything = audit::Query { since: None, until: None, account: None, key: None, before: None, limit: 1000 };
    let records = audit::list(&mut reader, everything).await.unwrap();
    let ended: Vec<_> = records.iter().filter(|record| record.action == "login.delete").map(|record| &record.object).collect();
    assert_eq!(ended, [&format!("login {}", ids[0].0)]);
    drop(reader);
    store.stop().await;
    writer.ended().await.unwrap();
}
