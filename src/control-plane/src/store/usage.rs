//! When keys were last used: gathered in memory, and brought to storage a bounded number at a time, so that no change waits long.
//!
//! A use is no change of a key: it gets no revision and no audit record, and one that is lost with the process is told anew by the next.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keygate_decision::{KeyId, UnixSeconds};
use sqlx::{QueryBuilder, Sqlite};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::history::ROWS_IN_A_STATEMENT;
use super::{Actor, Change, Store, StoreError, row};
use crate::push::UsageSink;

/// So many keys' uses may wait for storage.
const MAX_WAITING: usize = 262_144;
/// At most so many of them go in one transaction.
const ROWS: usize = 4_096;
/// The time between two transactions: for changes, and to gather what belongs together.
const PAUSE: Duration = Duration::from_secs(2);
/// The time after a transaction that failed.
const RETRY: Duration = Duration::from_secs(30);

/// The uses that wait for storage.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    uses: Mutex<Uses>,
    came: Notify,
}

/// In the order of the keys: neighbours share a page of the database.
#[derive(Debug, Default)]
struct Uses {
    last: BTreeMap<u64, UnixSeconds>,
    /// Where the next transaction begins, so that high numbers get their turn, too.
    from: u64,
}

impl Waiting {
    fn uses(&self) -> MutexGuard<'_, Uses> {
        // Nothing panics while it holds the lock, so what a poisoned one guards is whole.
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes all in, or nothing if they might be too many.
    fn add(&self, uses: impl ExactSizeIterator<Item = (KeyId, UnixSeconds)>) -> bool {
        let mut waiting = self.uses();
        if waiting.last.len() + uses.len() > MAX_WAITING {
            return false;
        }
        for (key, at) in uses {
            let last = waiting.last.entry(key.0).or_insert(at);
            *last = at.max(*last);
        }
        drop(waiting);
        self.came.notify_one();
        true
    }

    /// Takes out what goes in one transaction.
    fn take(&self) -> Vec<(u64, UnixSeconds)> {
        let mut waiting = self.uses();
        let from = if waiting.last.range(waiting.from..).next().is_some() { waiting.from } else { 0 };
        let some: Vec<_> = waiting.last.range(from..).take(ROWS).map(|(key, at)| (*key, *at)).collect();
        for (key, _) in &some {
            waiting.last.remove(key);
        }
        waiting.from = some.last().map_or(0, |(key, _)| key.saturating_add(1));
        some
    }

    fn is_empty(&self) -> bool {
        self.uses().last.is_empty()
    }
}

impl Store {
    /// Notes that a key has been used now.
    pub(crate) fn note_use(&self, key: KeyId) {
        // Where there is no room, so many others are used that this one will be again, or its use is lost: the request goes on.
        let _ = self.usage.add([(key, self.clock.now())].into_iter());
    }

    /// What the push calls with what proxies report.
    pub(crate) fn usage_sink(&self) -> UsageSink {
        let (usage, clock) = (self.usage.clone(), self.clock.clone());
        Arc::new(move |uses| {
            let now = clock.now().0;
            usage.add(uses.into_iter().map(|(key, age)| (key, UnixSeconds(now.saturating_sub(age.as_secs())))))
        })
    }

    /// Brings uses to storage for as long as it is awaited.
    pub(crate) async fn keep_uses(&self) -> Infallible {
        loop {
            while self.usage.is_empty() {
                self.usage.came.notified().await;
            }
            sleep(PAUSE).await;
            // While nothing can be changed, they wait.
            if self.is_failing() {
                continue;
            }
            if let Err(error) = self.write_some_uses().await {
                tracing::warn!("the last use of keys was not stored; it is tried again in {RETRY:?}: {error}");
                sleep(RETRY).await;
            }
        }
    }

    /// Brings all uses to storage that wait.
    ///
    /// # Errors
    /// If storage fails; what is not there yet goes on waiting.
    pub(crate) async fn write_uses(&self) -> Result<(), StoreError> {
        while !self.usage.is_empty() {
            self.write_some_uses().await?;
        }
        Ok(())
    }

    async fn write_some_uses(&self) -> Result<(), StoreError> {
        let some = self.usage.take();
        let stored = some.clone();
        let write = async move |change: &mut Change<'_>| record(change, &stored).await;
        match self.write::<_, StoreError, _>(Actor::Sync, write).await {
            Ok(_) => Ok(()),
            Err(error) => {
                // Where others have taken their room, they are lost.
                let _ = self.usage.add(some.into_iter().map(|(key, at)| (KeyId(key), at)));
                Err(error)
            }
        }
    }
}

/// Notes when keys were used, each once, unless a later use is known. Numbers that no key has are passed over. Ages are told in whole
/// seconds, so that a use may seem to come a second before its key.
async fn record(change: &mut Change<'_>, uses: &[(u64, UnixSeconds)]) -> Result<(), StoreError> {
    for some in uses.chunks(ROWS_IN_A_STATEMENT) {
        let mut query = QueryBuilder::<Sqlite>::new("WITH used (id, at) AS (");
        query.push_values(some, |mut row, (key, at)| {
            row.push_bind(row::integer(*key)).push_bind(row::integer(at.0));
        });
        query.push(
            ") UPDATE credential SET last_used = MAX(used.at, credential.created) FROM used \
             WHERE credential.id = used.id AND (credential.last_used IS NULL OR credential.last_used < used.at)",
        );
        // Seldom are there as many keys again.
        query.build().persistent(false).execute(change.connection()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
