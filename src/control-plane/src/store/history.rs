//! What a proxy's position is compared with: revisions, the digests each altered, and epochs. It never sends anything.

use std::collections::BTreeSet;

use keygate_decision::{Digest, Grant};
use sqlx::Connection as _;

use super::{Connection, StoreError, compile, proxy, row};
use crate::push::{History, PastEpoch};

/// What the push starts with.
pub(crate) struct Start {
    pub(crate) history: History,
    pub(crate) table: Vec<(Digest, Grant)>,
}

/// Begins an epoch: notes where the former one ended, trims the history, and reads what the push starts with.
pub(crate) async fn begin_epoch(connection: &mut Connection, epoch: [u8; 16]) -> Result<Start, StoreError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let revision = revision(&mut transaction).await?;
    sqlx::query("UPDATE epoch SET ended_at_revision = $1 WHERE ended_at_revision IS NULL")
        .bind(row::integer(revision))
        .execute(&mut *transaction)
        .await?;
    sqlx::query("INSERT INTO epoch (epoch, ended_at_revision) VALUES ($1, NULL)")
        .bind(epoch.as_slice())
        .execute(&mut *transaction)
        .await?;
    trim(&mut transaction, MAX_CHANGES).await?;
    let changes = changes_after(&mut transaction, 0).await?;
    let history = History {
        revision,
        epochs: past_epochs(&mut transaction).await?,
        changes: changes.into_iter().flat_map(|(revision, digests)| digests.into_iter().map(move |d| (revision, d))).collect(),
        proxies: proxy::list(&mut transaction).await?,
    };
    let table = compile::table(&mut transaction).await?;
    transaction.commit().await?;
    Ok(Start { history, table })
}

/// The table's newest revision; 0 before the first.
pub(crate) async fn revision(connection: &mut Connection) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT coalesce(max(revision), 0) AS revision FROM change").fetch_one(connection).await?;
    row::number(&row, "revision")
}

/// The digests that each later revision altered, oldest first.
pub(super) async fn changes_after(
    connection: &mut Connection,
    revision: u64,
) -> Result<Vec<(u64, BTreeSet<Digest>)>, StoreError> {
    let rows = sqlx::query("SELECT revision, digest FROM change WHERE revision > $1 ORDER BY revision, digest")
        .bind(row::integer(revision))
        .fetch_all(connection)
        .await?;
    let mut changes: Vec<(u64, BTreeSet<Digest>)> = Vec::new();
    for row in &rows {
        let (revision, digest) = (row::number(row, "revision")?, row::digest(row)?);
        match changes.last_mut() {
            Some((last, digests)) if *last == revision => {
                digests.insert(digest);
            }
            _ => changes.push((revision, BTreeSet::from([digest]))),
        }
    }
    Ok(changes)
}

/// Records which digests a revision altered.
pub(super) async fn record(connection: &mut Connection, revision: u64, digests: &BTreeSet<Digest>) -> Result<(), StoreError> {
    for digest in digests {
        sqlx::query("INSERT INTO change (revision, digest) VALUES ($1, $2)")
            .bind(row::integer(revision))
            .bind(digest.as_bytes().as_slice())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Keeps so many rows at most: forgets the oldest revisions, whole ones, and the epochs that ended before what is left: a proxy that far behind gets a
/// snapshot.
async fn trim(connection: &mut Connection, keep: i64) -> Result<(), StoreError> {
    sqlx::query(
        "DELETE FROM change WHERE revision <= (SELECT revision FROM change ORDER BY revision DESC, digest DESC LIMIT 1 OFFSET $1)",
    )
    .bind(keep)
    .execute(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM epoch WHERE ended_at_revision < (SELECT min(revision) - 1 FROM change)")
        .execute(&mut *connection)
        .await?;
    Ok(())
}

const MAX_CHANGES: i64 = 200_000;

async fn past_epochs(connection: &mut Connection) -> Result<Vec<PastEpoch>, StoreError> {
    let rows = sqlx::query("SELECT epoch, ended_at_revision FROM epoch WHERE ended_at_revision IS NOT NULL ORDER BY number")
        .fetch_all(connection)
        .await?;
    let read = |row| Ok(PastEpoch { epoch: row::bytes(row, "epoch")?, ended_at: row::number(row, "ended_at_revision")? });
    rows.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn revisions_are_forgotten_whole_and_epochs_with_them() {
        let mut connection = Connection::connect("sqlite::memory:").await.unwrap();
        sqlx::migrate!().run(&mut connection).await.unwrap();
        let digests: BTreeSet<Digest> = ["a", "b", "c"].map(Digest::of).into();
        for revision in 1..=4 {
            begin_epoch(&mut connection, [u8::try_from(revision).unwrap(); 16]).await.unwrap();
            record(&mut connection, revision, &digests).await.unwrap();
        }
        for (keep, left, epochs) in [(12, [1, 2, 3, 4].as_slice(), 3), (7, &[3, 4], 2), (6, &[3, 4], 2), (5, &[4], 1)] {
            trim(&mut connection, keep).await.unwrap();
            let changes = changes_after(&mut connection, 0).await.unwrap();
            assert!(changes.iter().all(|(_, altered)| *altered == digests), "{keep}");
            assert_eq!(changes.iter().map(|(revision, _)| *revision).collect::<Vec<_>>(), left, "{keep}");
            // Only a position from the revision before the oldest one on can still be brought forward.
            assert_eq!(past_epochs(&mut connection).await.unwrap().len(), epochs, "{keep}");
        }
        assert_eq!(revision(&mut connection).await.unwrap(), 4);
    }
}
