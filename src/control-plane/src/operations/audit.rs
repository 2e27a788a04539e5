//! What is done with the audit record: admins read it, and requests that were refused get into it.
//!
//! A refusal is cheap to provoke, so few are noted: those of callers who are known, so many for each in a minute, and so many in all.
//! All keys and logins of an account count as one caller: else whoever has many would leave no room for others. How many were left
//! out is noted, too. A login that fails is noted under the account that it names; what names no account is not, for it may be a
//! password in the wrong field. Anybody may try to log in, so those have bounds of their own, and take no room from callers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use keygate_decision::UnixSeconds;
use serde_json::{Value, json};

use super::{Missing, Refusal, require};
use crate::model::AuditRecord;
use crate::permission::{Action, Caller, Standing};
use crate::store::audit::{self, Query};
use crate::store::{Actor, Change, Connection, Store, StoreError};

/// Reads records, newest first.
pub(crate) async fn list(connection: &mut Connection, caller: &Caller, query: Query) -> Result<Vec<AuditRecord>, Refusal> {
    require(caller, Action::SeeAudit, || Missing::account("here"))?;
    Ok(audit::list(connection, query).await?)
}

const MINUTE_SECONDS: u64 = 60;
const PER_ACTOR: u32 = 10;
const REQUESTS_IN_ALL: u32 = 200;
const LOGINS_IN_ALL: u32 = 100;

/// Notes refusals, within bounds; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusals(Arc<Mutex<Minute>>);

#[derive(Debug, Default)]
struct Minute {
    /// In seconds since 1970.
    begun: u64,
    by_actor: HashMap<String, u32>,
    requests: u32,
    logins: u32,
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
        let minute = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.0.abs_diff(minute.begun) >= MINUTE_SECONDS {
            *minute = Minute { begun: now.0, left_out: minute.left_out, ..Minute::default() };
        }
        let (in_all, most) = match actor {
            Actor::Account(_) => (&mut minute.logins, LOGINS_IN_ALL),
            Actor::Caller(_) | Actor::Local | Actor::Sync => (&mut minute.requests, REQUESTS_IN_ALL),
        };
        let counted = counted(actor);
        let of_actor = minute.by_actor.get(&counted).copied().unwrap_or(0);
        if of_actor >= PER_ACTOR || *in_all >= most {
            minute.left_out = minute.left_out.saturating_add(1);
            return None;
        }
        *in_all += 1;
        minute.by_actor.insert(counted, of_actor + 1);
        Some(std::mem::take(&mut minute.left_out))
    }
}

/// Under which words an actor is counted: a caller's are the same for all keys of an account or of an environment.
fn counted(actor: &Actor) -> String {
    match actor {
        Actor::Caller(Caller { standing, .. }) => match standing {
            Standing::Admin(account) | Standing::User(account) | Standing::Limited(account, _) => {
                format!("a key of account {}", account.0)
            }
            Standing::Environment(environment) => format!("a key of environment {environment}"),
        },
        Actor::Account(_) | Actor::Local | Actor::Sync => actor.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use keygate_decision::{AccountId, EnvironmentId, KeyId};

    use super::*;
    use crate::model::Purpose;

    #[test]
    fn all_keys_of_an_account_count_as_one_caller_and_logins_that_fail_by_themselves() {
        let refusals = Refusals::default();
        let environment = EnvironmentId::parse("1a5").unwrap();
        let admit = |actor: Actor| refusals.admit(&actor, UnixSeconds(1000)).is_some();
        let caller = |key, standing| Actor::Caller(Caller { key: KeyId(key), purpose: Purpose::Key, standing });
        let noted = (1..=30).filter(|key| admit(caller(*key, Standing::User(AccountId(1))))).count();
        assert_eq!(noted, 10, "those of one account");
        assert!(!admit(caller(31, Standing::Limited(AccountId(1), environment.clone()))), "also if it is limited");
        let noted = (1..=30).filter(|key| admit(caller(*key, Standing::Environment(environment.clone())))).count();
        assert_eq!(noted, 10, "those of one environment");
        assert!(admit(Actor::Account(AccountId(1))), "who tries to log in may be somebody else");
        let noted = (2..1000).filter(|account| admit(caller(1, Standing::User(AccountId(*account))))).count();
        assert_eq!(noted, 180);
        let noted = (2..1000).filter(|account| admit(Actor::Account(AccountId(*account)))).count();
        assert_eq!(noted, 99, "callers leave room for them");
    }

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
        assert_eq!(admit(1, 1120), Some(997 - 98 + 1));
        assert_eq!(admit(1, 900), Some(0), "a clock that was set back");
    }
}
