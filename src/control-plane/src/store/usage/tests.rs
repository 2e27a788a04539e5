//! What becomes of reported uses, and what they never do.

use std::sync::atomic::{AtomicU64, Ordering};

use keygate_decision::Digest;

use super::*;
use crate::api::Scratch;
use crate::clock::Clock;
use crate::store::{DataFolder, WriterThread};

const NOW: u64 = 1_800_000_000;

struct Plane {
    store: Store,
    writer: WriterThread,
    published: Arc<AtomicU64>,
    _scratch: Scratch,
}

impl Plane {
    /// Storage with so many keys, from 1 on.
    async fn with_keys(keys: u64) -> Self {
        let scratch = Scratch::new();
        let folder = DataFolder::create(scratch.path()).unwrap();
        let clock = Clock::manual(Arc::new(AtomicU64::new(NOW)));
        let (store, mut writer) = Store::open(folder.database(), clock).await.unwrap();
        let connection = writer.connection().await.unwrap();
        for sql in [
            "INSERT INTO account (id, name, kind, state, created) VALUES (1, 'a', 'user', 'active', 1)".to_owned(),
            format!(
                "INSERT INTO credential (id, digest, access_key, account, name, state, created) \
                 SELECT n, randomblob(32), hex(randomblob(10)), 1, 'k', 'active', 1 FROM \
                 (WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {keys}) SELECT n FROM n)"
            ),
        ] {
            sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut *connection).await.unwrap();
        }
        let published = Arc::new(AtomicU64::new(0));
        let count = published.clone();
        let writer = writer
            .spawn(move |_, _: Vec<(Digest, _)>| {
                count.fetch_add(1, Ordering::SeqCst);
                Ok(())
            })
            .unwrap();
        Self { store, writer, published, _scratch: scratch }
    }

    async fn number(&self, sql: &'static str) -> u64 {
        let number: i64 = sqlx::query_scalar(sql).fetch_one(&mut *self.store.read().await.unwrap()).await.unwrap();
        u64::try_from(number).unwrap()
    }

    async fn last_used(&self, key: i64) -> Option<i64> {
        let query = sqlx::query_scalar("SELECT last_used FROM credential WHERE id = $1").bind(key);
        query.fetch_one(&mut *self.store.read().await.unwrap()).await.unwrap()
    }

    async fn end(mut self) {
        self.store.stop().await;
        self.writer.ended().await.unwrap();
    }
}

fn ago(uses: &[(u64, u64)]) -> Vec<(KeyId, Duration)> {
    uses.iter().map(|(key, seconds)| (KeyId(*key), Duration::from_secs(*seconds))).collect()
}

#[tokio::test]
async fn the_latest_use_stays_and_nothing_else_changes() {
    let plane = Plane::with_keys(3).await;
    let sink = plane.store.usage_sink();
    assert!(sink(ago(&[(1, 60), (2, 5), (1, 30), (4_000, 0), (u64::MAX, 0)])));
    plane.store.write_uses().await.unwrap();
    let now = i64::try_from(NOW).unwrap();
    assert_eq!(plane.last_used(1).await, Some(now - 30));
    assert_eq!(plane.last_used(2).await, Some(now - 5));
    assert_eq!(plane.last_used(3).await, None);
    assert!(sink(ago(&[(1, 3600), (2, 0)])));
    plane.store.write_uses().await.unwrap();
    assert_eq!((plane.last_used(1).await, plane.last_used(2).await), (Some(now - 30), Some(now)), "an older use changes nothing");
    assert!(sink(ago(&[(3, u64::MAX)])));
    plane.store.write_uses().await.unwrap();
    assert_eq!(plane.last_used(3).await, Some(1), "an age beyond all time is no time before the key");
    assert_eq!(plane.number("SELECT COUNT(*) FROM audit").await, 0);
    assert_eq!(plane.number("SELECT COUNT(*) FROM credential").await, 3);
    assert_eq!(plane.published.load(Ordering::SeqCst), 0, "a use is no revision");
    plane.end().await;
}

#[tokio::test]
async fn a_flood_of_uses_is_bounded_and_goes_in_small_transactions() {
    let plane = Plane::with_keys(20_000).await;
    let sink = plane.store.usage_sink();
    let uses: Vec<(u64, u64)> = (1..=MAX_WAITING as u64).map(|key| (key, 1)).collect();
    for some in uses.chunks(4_096) {
        assert!(sink(ago(some)));
    }
    assert!(!sink(ago(&[(MAX_WAITING as u64 + 1, 0)])), "there is room for so many");
    // Whoever has reported most does not keep the highest numbers waiting for ever.
    assert_eq!(plane.store.usage.take().first().map(|(key, _)| *key), Some(1));
    assert!(sink(ago(&[(1, 0)])));
    assert_eq!(plane.store.usage.take().first().map(|(key, _)| *key), Some(ROWS as u64 + 1));

    plane.store.write_some_uses().await.unwrap();
    assert_eq!(plane.number("SELECT COUNT(*) FROM credential WHERE last_used IS NOT NULL").await, ROWS as u64);
    plane.end().await;
}
