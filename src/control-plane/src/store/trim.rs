//! Forgetting: what is so old that nobody needs it goes, a few rows at a time, so that no change waits long. It decides when and how much;
//! which revisions may go at all is for [`history`].

use std::time::Duration;

use keygate_decision::UnixSeconds;
use sqlx::Connection as _;
use tokio::time::Instant;

use super::counts::Counts;
use super::history::{self, Oldest};
use super::{Connection, StoreError, row};

/// A proxy that was away for longer than this gets a snapshot.
const CHANGE_SECONDS: u64 = 7 * DAY;
/// At most so many rows of each kind go in one transaction, the last revision whole.
const ROWS: u32 = 5_000;
/// The time between two transactions, for changes.
const PAUSE: Duration = Duration::from_millis(100);
/// A machine may come up with its clock years ahead, and all audit records would be too old before it is set right: none goes sooner after
/// the start, unless the newest is no older than this. Of the changes nothing is lost by that: proxies get a snapshot.
const CLOCK_SETTLES: Duration = Duration::from_secs(60 * 60);
const PLAUSIBLE_SECONDS: u64 = 7 * DAY;
/// How often there is a look for what is too old.
const INTERVAL: Duration = Duration::from_secs(60 * 60);

const DAY: u64 = 24 * 60 * 60;

/// When to trim next, and what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trimming {
    audit_seconds: u64,
    /// Until then all audit records stay; not known before the first step.
    audit_from: Option<Instant>,
    /// When the next step is due.
    pub(super) due: Instant,
}

impl Trimming {
    /// Begins at once, and keeps audit records for so many days.
    pub(super) fn new(audit_days: u32) -> Self {
        Self { audit_seconds: u64::from(audit_days) * DAY, audit_from: None, due: Instant::now() }
    }

    /// Trims as much as fits into one transaction, nothing that is newer than the revision `published`. More is due soon if there is more.
    pub(super) async fn step(
        &mut self,
        connection: &mut Connection,
        published: u64,
        now: UnixSeconds,
        counts: &Counts,
    ) -> Result<(), StoreError> {
        // Also if it fails: then there is no hurry.
        let started = Instant::now();
        self.due = started + INTERVAL;
        let before = |seconds| UnixSeconds(now.0.saturating_sub(seconds));
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        let oldest = Oldest { upto: published, before: before(CHANGE_SECONDS), rows: Some(ROWS) };
        let changes = history::trim(&mut transaction, oldest).await?;
        let audit_from = match self.audit_from {
            Some(from) => from,
            None if newest_audit(&mut transaction).await?.is_some_and(|newest| newest >= before(PLAUSIBLE_SECONDS)) => started,
            None => started + CLOCK_SETTLES,
        };
        self.audit_from = Some(audit_from);
        let audit = match started < audit_from {
            true => 0,
            false => trim_audit(&mut transaction, before(self.audit_seconds)).await?,
        };
        transaction.commit().await?;
        counts.trimmed_changes.inc_by(changes);
        counts.trimmed_audit.inc_by(audit);
        if changes.max(audit) >= u64::from(ROWS) {
            self.due = Instant::now() + PAUSE;
        }
        if changes + audit > 0 {
            tracing::info!(changes, audit, "the oldest changes and audit records were trimmed");
        }
        Ok(())
    }
}

async fn newest_audit(connection: &mut Connection) -> Result<Option<UnixSeconds>, StoreError> {
    let newest = sqlx::query("SELECT time FROM audit ORDER BY id DESC LIMIT 1").fetch_optional(connection).await?;
    newest.map(|newest| row::seconds(&newest, "time")).transpose()
}

/// Looks at the oldest records alone: there may be millions.
async fn trim_audit(connection: &mut Connection, before: UnixSeconds) -> Result<u64, StoreError> {
    let delete = sqlx::query("DELETE FROM audit WHERE id IN (SELECT id FROM audit ORDER BY id LIMIT $1) AND time < $2");
    Ok(delete.bind(ROWS).bind(row::integer(before.0)).execute(connection).await?.rows_affected())
}
