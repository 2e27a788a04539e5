//! What a proxy's position is compared with: revisions, the digests each altered, and epochs. It never sends anything.

use std::collections::BTreeSet;

use keygate_decision::{Digest, Grant, UnixSeconds};
use sqlx::{Connection as _, QueryBuilder, Sqlite};
use tokio_stream::StreamExt as _;

use super::{Connection, StoreError, compile, proxy, row};
use crate::push::{EncodedGrant, History, PastEpoch};

/// What the push starts with.
pub(crate) struct Start {
    pub(crate) history: History,
    pub(crate) table: Vec<(Digest, EncodedGrant)>,
}

/// Begins an epoch: notes where the former one ended, trims the history, and reads what the push starts with.
pub(crate) async fn begin_epoch(connection: &mut Connection, epoch: [u8; 16]) -> Result<Start, StoreError> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let revision = revision(&mut transaction).await?;
    end_epoch(&mut transaction).await?;
    sqlx::query("INSERT INTO epoch (epoch, ended_at_revision) VALUES ($1, NULL)")
        .bind(epoch.as_slice())
        .execute(&mut *transaction)
        .await?;
    // By age the running server trims, a few rows at a time.
    trim(&mut transaction, Oldest { upto: revision, before: UnixSeconds(0), rows: None }).await?;
    let history = History {
        revision,
        epochs: past_epochs(&mut transaction).await?,
        changes: changed_after(&mut transaction, 0).await?,
        proxies: proxy::list(&mut transaction).await?,
    };
    let mut table = Vec::new();
    compile::each(&mut transaction, |digest, grant| table.push((digest, EncodedGrant::from(&grant)))).await?;
    transaction.commit().await?;
    Ok(Start { history, table })
}

/// The newest revision, and the table that it is of: read in one transaction, so that they belong together.
pub(crate) async fn table_at_revision(connection: &mut Connection) -> Result<(u64, Vec<(Digest, Grant)>), StoreError> {
    let mut transaction = connection.begin().await?;
    let revision = revision(&mut transaction).await?;
    let table = compile::table(&mut transaction).await?;
    transaction.commit().await?;
    Ok((revision, table))
}

/// The table's newest revision; 0 before the first.
pub(crate) async fn revision(connection: &mut Connection) -> Result<u64, StoreError> {
    let row = sqlx::query("SELECT revision FROM head").fetch_one(connection).await?;
    row::number(&row, "revision")
}

/// The digests that each later revision altered, oldest first.
pub(super) async fn changes_after(
    connection: &mut Connection,
    revision: u64,
) -> Result<Vec<(u64, BTreeSet<Digest>)>, StoreError> {
    let mut changes: Vec<(u64, BTreeSet<Digest>)> = Vec::new();
    for (revision, digest) in changed_after(connection, revision).await? {
        match changes.last_mut() {
            Some((last, digests)) if *last == revision => {
                digests.insert(digest);
            }
            _ => changes.push((revision, BTreeSet::from([digest]))),
        }
    }
    Ok(changes)
}

/// The same in a row, a revision's digests in order.
async fn changed_after(connection: &mut Connection, revision: u64) -> Result<Vec<(u64, Digest)>, StoreError> {
    let query = sqlx::query("SELECT revision, digest FROM change WHERE revision > $1 ORDER BY revision, digest");
    let mut rows = query.bind(row::integer(revision)).fetch(connection);
    let mut changed = Vec::new();
    while let Some(row) = rows.try_next().await? {
        changed.push((row::number(&row, "revision")?, row::digest(&row)?));
    }
    Ok(changed)
}

/// Records which digests new revisions altered and when, and that the last one is the newest.
pub(super) async fn record(
    connection: &mut Connection,
    altered: &[(u64, BTreeSet<Digest>)],
    now: UnixSeconds,
) -> Result<(), StoreError> {
    let Some((newest, _)) = altered.last() else { return Ok(()) };
    let rows: Vec<_> =
        altered.iter().flat_map(|(revision, digests)| digests.iter().map(move |digest| (*revision, digest))).collect();
    for chunk in rows.chunks(ROWS_IN_A_STATEMENT) {
        let mut insert = QueryBuilder::<Sqlite>::new("INSERT INTO change (revision, digest, time) ");
        insert.push_values(chunk, |mut values, (revision, digest)| {
            values.push_bind(row::integer(*revision)).push_bind(digest.as_bytes().as_slice()).push_bind(row::integer(now.0));
        });
        // Seldom are there as many rows again.
        insert.build().persistent(false).execute(&mut *connection).await?;
    }
    sqlx::query("UPDATE head SET revision = $1").bind(row::integer(*newest)).execute(connection).await?;
    Ok(())
}

/// So many rows fit into one statement without reaching any database's limit of values.
pub(super) const ROWS_IN_A_STATEMENT: usize = 1000;

/// What of the history may go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Oldest {
    /// What is newer than this revision stays in any case.
    pub(super) upto: u64,
    /// Revisions from before this second go, however few there are.
    pub(super) before: UnixSeconds,
    /// About so many rows go at most; all if none.
    pub(super) rows: Option<u32>,
}

/// Forgets the oldest revisions, whole ones, until [`MAX_CHANGES`] rows are left, and the epochs that ended before what is left: a
/// proxy that far behind gets a snapshot. Gives the number of rows.
pub(super) async fn trim(connection: &mut Connection, oldest: Oldest) -> Result<u64, StoreError> {
    trim_to(connection, MAX_CHANGES, oldest).await
}

const MAX_CHANGES: i64 = 200_000;

async fn trim_to(connection: &mut Connection, keep: i64, oldest: Oldest) -> Result<u64, StoreError> {
    // What goes is always the beginning: a clock that was wrong for a while makes no gap.
    let trimmed = sqlx::query(
        "DELETE FROM change WHERE revision <= $2 AND (revision <= \
         (SELECT revision FROM change ORDER BY revision DESC, digest DESC LIMIT 1 OFFSET $1) \
         OR revision <= (SELECT max(revision) FROM change WHERE time < $3)) \
         AND revision <= (SELECT max(revision) FROM (SELECT revision FROM change ORDER BY revision, digest LIMIT $4))",
    )
    .bind(keep)
    .bind(row::integer(oldest.upto))
    .bind(row::integer(oldest.before.0))
    .bind(oldest.rows.map_or(-1, i64::from))
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "DELETE FROM epoch WHERE ended_at_revision < coalesce((SELECT min(revision) - 1 FROM change), (SELECT revision FROM head))",
    )
    .execute(&mut *connection)
    .await?;
    Ok(trimmed.rows_affected())
}

/// Forgets every line of revisions that a proxy may be on, in a database that nobody serves: no delta is built on any of them.
pub(super) async fn forget_epochs(connection: &mut Connection) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM epoch").execute(connection).await?;
    Ok(())
}

/// Ends the running epoch where it is, before anything is changed while no proxy is served: what is changed then is no revision of that
/// epoch, although a proxy may have one of the same number.
pub(crate) async fn end_epoch(connection: &mut Connection) -> Result<(), StoreError> {
    sqlx::query("UPDATE epoch SET ended_at_revision = (SELECT revision FROM head) WHERE ended_at_revision IS NULL")
        .execute(connection)
        .await?;
    Ok(())
}

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

    const NOW: UnixSeconds = UnixSeconds(1_000_000);

    fn upto(revision: u64) -> Oldest {
        Oldest { upto: revision, before: UnixSeconds(0), rows: None }
    }

    #[tokio::test]
    async fn revisions_are_forgotten_whole_and_epochs_with_them() {
        let mut connection = Connection::connect("sqlite::memory:").await.unwrap();
        sqlx::migrate!().run(&mut connection).await.unwrap();
        let digests: BTreeSet<Digest> = ["a", "b", "c"].map(Digest::of).into();
        for revision in 1..=4 {
            begin_epoch(&mut connection, [u8::try_from(revision).unwrap(); 16]).await.unwrap();
            record(&mut connection, &[(revision, digests.clone())], NOW).await.unwrap();
        }
        for (keep, left, epochs) in [(12, [1, 2, 3, 4].as_slice(), 3), (7, &[3, 4], 2), (6, &[3, 4], 2), (5, &[4], 1)] {
            trim_to(&mut connection, keep, upto(4)).await.unwrap();
            let changes = changes_after(&mut connection, 0).await.unwrap();
            assert!(changes.iter().all(|(_, altered)| *altered == digests), "{keep}");
            assert_eq!(changes.iter().map(|(revision, _)| *revision).collect::<Vec<_>>(), left, "{keep}");
            // Only a position from the revision before the oldest one on can still be brought forward.
            assert_eq!(past_epochs(&mut connection).await.unwrap().len(), epochs, "{keep}");
        }
        assert_eq!(revision(&mut connection).await.unwrap(), 4);
    }

    #[tokio::test]
    async fn a_newest_revision_that_is_too_long_to_keep_still_counts() {
        let mut connection = Connection::connect("sqlite::memory:").await.unwrap();
        sqlx::migrate!().run(&mut connection).await.unwrap();
        for epoch in 1..=3 {
            begin_epoch(&mut connection, [epoch; 16]).await.unwrap();
            let digests = (0..4).map(|n| Digest::of(&format!("{epoch}.{n}"))).collect();
            record(&mut connection, &[(epoch.into(), digests)], NOW).await.unwrap();
        }
        trim_to(&mut connection, 3, upto(2)).await.unwrap();
        let revisions = async |connection: &mut Connection| {
            changes_after(connection, 0).await.unwrap().into_iter().map(|(revision, _)| revision).collect::<Vec<_>>()
        };
        assert_eq!(revisions(&mut connection).await, [3], "what is not published yet is owed");
        trim_to(&mut connection, 3, upto(3)).await.unwrap();
        assert!(revisions(&mut connection).await.is_empty());
        let start = begin_epoch(&mut connection, [4; 16]).await.unwrap();
        assert_eq!((start.history.revision, start.history.epochs.len()), (3, 1), "the epoch that ended at 3 is still a base");
        record(&mut connection, &[(4, [Digest::of("next")].into())], NOW).await.unwrap();
        assert_eq!(revision(&mut connection).await.unwrap(), 4);
    }

    #[tokio::test]
    async fn revisions_that_are_too_old_go_from_the_beginning_a_few_at_a_time() {
        let mut connection = Connection::connect("sqlite::memory:").await.unwrap();
        sqlx::migrate!().run(&mut connection).await.unwrap();
        let digests: BTreeSet<Digest> = ["a", "b"].map(Digest::of).into();
        // The clock was set back between the second and the third.
        for (revision, second) in [(1, 500), (2, 2_000), (3, 900), (4, 1_500), (5, 1_600)] {
            begin_epoch(&mut connection, [u8::try_from(revision).unwrap(); 16]).await.unwrap();
            record(&mut connection, &[(revision, digests.clone())], UnixSeconds(second)).await.unwrap();
        }
        let mut trim = async |upto, rows| {
            let oldest = Oldest { upto, before: UnixSeconds(1_000), rows };
            let trimmed = super::trim(&mut connection, oldest).await.unwrap();
            let left = changes_after(&mut connection, 0).await.unwrap();
            (trimmed, left.iter().map(|(revision, _)| *revision).collect::<Vec<_>>())
        };
        assert_eq!(trim(2, Some(1)).await, (2, vec![2, 3, 4, 5]), "a revision goes whole");
        assert_eq!(trim(2, None).await, (2, vec![3, 4, 5]), "what is not published yet is owed");
        assert_eq!(trim(5, Some(4)).await, (2, vec![4, 5]), "what is younger stays");
        assert_eq!(trim(5, None).await, (0, vec![4, 5]));
        assert_eq!(past_epochs(&mut connection).await.unwrap().len(), 2, "those that ended at 3 and 4 are still a base");
    }
}
