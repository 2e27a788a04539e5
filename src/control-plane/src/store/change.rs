//! One change while it is made: what operations and the resources' files write through. It never commits: that is for the writer.

use std::collections::BTreeSet;
use std::fmt;

use keygate_decision::{AccountId, Digest, UnixSeconds};
use sqlx::SqliteConnection;

use crate::permission::{Caller, Standing};

/// On whose behalf a change is made; the audit record keeps it.
#[derive(Clone, Debug)]
pub(crate) enum Actor {
    /// Someone with a credential.
    Caller(Caller),
    /// Someone who said an account's password, or tried to.
    Account(AccountId),
    /// Someone with access to the data folder.
    Local,
    /// The server, for a proxy that connected.
    Sync,
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Caller(Caller { key, purpose, standing: Standing::Admin(account) | Standing::User(account) }) => {
                write!(f, "account {} {} {}", account.0, purpose.as_str(), key.0)
            }
            Self::Caller(Caller { key, purpose, standing: Standing::Environment(environment) }) => {
                write!(f, "environment {environment} {} {}", purpose.as_str(), key.0)
            }
            Self::Caller(Caller { key, purpose, standing: Standing::Limited(account, environment) }) => {
                write!(f, "account {} {} {} limited to {environment}", account.0, purpose.as_str(), key.0)
            }
            Self::Account(account) => write!(f, "account {}", account.0),
            Self::Local => f.write_str("local"),
            Self::Sync => f.write_str("sync"),
        }
    }
}

/// What a change gave, and the revision of the table that contains it.
#[derive(Debug)]
pub(crate) struct Written<T> {
    pub(crate) value: T,
    pub(crate) revision: u64,
}

/// A change that is being made. The functions of [`super`] that take one each write a row, and note what the audit record says and the
/// digests whose grants they may have altered.
pub(crate) struct Change<'t> {
    connection: &'t mut SqliteConnection,
    actor: &'t Actor,
    now: UnixSeconds,
    made: Made,
}

/// What a change has done beside its rows: the writer sees to both, for a whole batch at once.
#[derive(Debug, Default)]
pub(super) struct Made {
    /// The credentials whose grants may be others once it is committed.
    pub(super) touched: BTreeSet<Digest>,
    /// What the audit record says of it.
    pub(super) noted: Vec<Note>,
}

/// One line of the audit record that is not written yet.
#[derive(Debug)]
pub(super) struct Note {
    pub(super) time: UnixSeconds,
    pub(super) actor: String,
    pub(super) action: &'static str,
    pub(super) object: String,
    pub(super) detail: String,
}

impl<'t> Change<'t> {
    /// A change at this second that has done nothing yet.
    pub(super) fn new(connection: &'t mut SqliteConnection, actor: &'t Actor, now: UnixSeconds) -> Self {
        Self { connection, actor, now, made: Made::default() }
    }

    /// What is left to do for it.
    pub(super) fn made(self) -> Made {
        self.made
    }

    /// The second at which it happens.
    pub(crate) fn now(&self) -> UnixSeconds {
        self.now
    }

    /// To read what this change and those before it have made.
    pub(crate) fn connection(&mut self) -> &mut SqliteConnection {
        self.connection
    }

    /// Notes credentials whose grants may be others now.
    pub(super) fn touch(&mut self, digests: impl IntoIterator<Item = Digest>) {
        self.made.touched.extend(digests);
    }

    /// Notes what the audit record says of it. The detail must never hold a secret.
    pub(super) fn audit(&mut self, action: &'static str, object: String, detail: &serde_json::Value) {
        let (time, actor, detail) = (self.now, self.actor.to_string(), detail.to_string());
        self.made.noted.push(Note { time, actor, action, object, detail });
    }
}
