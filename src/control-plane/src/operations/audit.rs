//! What is done with the audit record: admins read it, and requests that were refused get into it.
//!
//! A refusal is cheap to provoke, so few are noted: those of callers who are known, so many for each in a minute, and so many in all.
//! How many were left out is noted, too. A login that fails is noted under the account that it names; what names no account is not,
//! for it may be a password in the wrong field.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use keygate_decision::UnixSeconds;
use serde_json::{Value, json};

use super::{Missing, Refusal, require};
use crate::model::AuditRecord;
use crate::permission::{Action, Caller};
use crate::store::audit::{self, Query};
use crate::store::{Actor, Change, Connection, Store, StoreError};

/// Reads records, newest first.
pub(crate) async fn list(connection: &mut Connection, caller: &Caller, query: Query) -> Result<Vec<AuditRecord>, Refusal> {
    require(caller, Action::SeeAudit, || Missing::account("here"))?;
    Ok(audit::list(connection, query).await?)
}

const MINUTE_SECONDS: u64 = 60;
const PER_ACTOR: u32 = 10;
const IN_ALL: u32 = 300;

/// Notes refusals, within bounds; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusals(Arc<Mutex<Minute>>);

#[derive(Debug, Default)]
struct Minute {
    /// In seconds since 1970.
    begun: u64,
    by_actor: HashMap<String, u32>,
    in_all: u32,
    left_out: u32,
}

impl Refusals {
    /// Notes a refusal and waits until it is durable. That it cannot be noted is logged: the refusal stands all the same.
    pub(crate) async fn note(&self, store: &Store, actor: Actor, action: &'static str, object: String, detail: Value) {
        let Some(left_out) = self.admit(&actor, store.clock().now()) else { return };
        let noted = store.write::<_, StoreError, _>(actor, async move |change: &mut Change<'_>| {
            if left_out > 0 {
                audit::refused(change, "refusals.omit", "audit".to_owned(), &json!({"count": left_out}));
            }
            audit::refused(change, action, object, &detail);
            Ok(())
        });
        if let Err(error) = noted.await {
            tracing::error!(%error, "a refused request was not noted");
        }
    }

    /// Whether one more may be noted now; if so, how many were left out since the last one that was.
    fn admit(&self, actor: &Actor, now: UnixSeconds) -> Option<u32> {
        // The counts are whole between any two statements.
        let mut minute = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.0.abs_diff(minute.begun) >= MINUTE_SECONDS {
            *minute = Minute { begun: now.0, left_out: minute.left_out, ..Minute::default() };
        }
        let of_actor = minute.by_actor.get(&actor.to_string()).copied().unwrap_or(0);
        if of_actor >= PER_ACTOR || minute.in_all >= IN_ALL {
            minute.left_out = minute.left_out.saturating_add(1);
            return None;
        }
        minute.in_all += 1;
        minute.by_actor.insert(actor.to_string(), of_actor + 1);
        Some(std::mem::take(&mut minute.left_out))
    }
}

#[cfg(test)]
mod tests {
    use keygate_decision::AccountId;

    use super::*;

    #[test]
    fn what_is_left_out_is_counted_and_told_with_the_next_one() {
        let refusals = Refusals::default();
        let admit = |account, second| refusals.admit(&Actor::Account(AccountId(account)), UnixSeconds(second));
        for _ in 0..10 {
            assert_eq!(admit(1, 1000), Some(0));
        }
        assert_eq!([admit(1, 1000), admit(1, 1059)], [None, None]);
        assert_eq!(admit(2, 1059), Some(2), "another actor");
        assert_eq!([admit(1, 1060), admit(1, 1060)], [Some(0), Some(0)]);
        for account in 3..1000 {
            admit(account, 1060);
        }
        assert_eq!(admit(1, 1119), None, "enough in all");
        assert_eq!(admit(1, 1120), Some(997 - 298 + 1));
        assert_eq!(admit(1, 900), Some(0), "a clock that was set back");
    }
}
