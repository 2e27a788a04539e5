//! The one writer. Owns the only connection that writes, the order of changes and their revisions.
//!
//! Queued changes are batched into one transaction (group commit), each in a savepoint of its own, so that one that fails does
//! not spoil the others. A change that alters grants gets the next revision. Nobody is answered before the batch is durable and
//! published. After a failed batch the writer tries again by itself until storage works; when a revision cannot be published it ends,
//! for then the proxies no longer get what storage holds.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use keygate_decision::{AccountId, Digest, Grant, UnixSeconds};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::sleep;

use super::{StoreError, compile, history, row};
use crate::clock::Clock;
use crate::permission::{Caller, Standing};
use crate::push::OutOfOrder;

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

/// A change that is being made. The functions of [`super`] that take one each write a row, the audit record, and the digests
/// whose grants they may have altered.
pub(crate) struct Change<'t> {
    connection: &'t mut SqliteConnection,
    actor: &'t Actor,
    now: UnixSeconds,
    touched: BTreeSet<Digest>,
}

impl Change<'_> {
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
        self.touched.extend(digests);
    }

    /// Writes the audit record. The detail must never hold a secret.
    pub(super) async fn audit(
        &mut self,
        action: &'static str,
        object: String,
        detail: serde_json::Value,
    ) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO audit (time, actor, action, object, detail) VALUES ($1, $2, $3, $4, $5)")
            .bind(row::integer(self.now.0))
            .bind(self.actor.to_string())
            .bind(action)
            .bind(object)
            .bind(detail.to_string())
            .execute(&mut *self.connection)
            .await?;
        Ok(())
    }
}

/// A change that stands in the queue.
pub(super) struct Queued {
    actor: Actor,
    operation: Operation,
}

type Operation = Box<dyn for<'c> FnOnce(&'c mut Change<'_>) -> Pin<Box<dyn Future<Output = Finished> + 'c>> + Send>;

/// An operation that has run; whether its work stays, and how to answer once that is certain.
pub(super) struct Finished {
    keep: bool,
    answer: Box<dyn FnOnce(u64)>,
}

impl Queued {
    /// Wraps an operation so that its result travels to whoever waits for it.
    pub(super) fn new<T, E, F>(actor: Actor, operation: F, reply: oneshot::Sender<Result<Written<T>, E>>) -> Self
    where
        F: AsyncFnOnce(&mut Change<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let operation: Operation = Box::new(move |change| {
            Box::pin(async move {
                let result = operation(change).await;
                let keep = result.is_ok();
                // Whoever waited may have gone away; the change stands all the same.
                let answer = move |revision| {
                    let _ = reply.send(result.map(|value| Written { value, revision }));
                };
                Finished { keep, answer: Box::new(answer) }
            })
        });
        Self { actor, operation }
    }
}

/// What the writer and the handles to storage tell each other beside the changes.
#[derive(Debug, Default)]
pub(super) struct Signals {
    /// Take nothing further, make what is queued, end.
    pub(super) stop: Notify,
    /// The last batch failed, and none has succeeded since.
    pub(super) failing: AtomicBool,
}

/// The altered grants of one revision; `None` for a credential that no longer passes.
type Publication = (u64, Vec<(Digest, Option<Grant>)>);

/// Makes the changes, one batch after the other.
pub(crate) struct Writer {
    options: SqliteConnectOptions,
    /// Absent after a failed batch, when the connection's state is unknown.
    connection: Option<SqliteConnection>,
    queue: mpsc::Receiver<Queued>,
    signals: Arc<Signals>,
    clock: Clock,
    /// The newest revision that proxies have been told.
    published: u64,
    /// How much history was recorded since it was last trimmed.
    untrimmed: usize,
    /// How long to wait before storage is tried again; none if the last batch succeeded.
    retry: Option<Duration>,
}

impl Writer {
    pub(super) async fn new(
        options: SqliteConnectOptions,
        mut connection: SqliteConnection,
        queue: mpsc::Receiver<Queued>,
        signals: Arc<Signals>,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let published = history::revision(&mut connection).await?;
        Ok(Self { options, connection: Some(connection), queue, signals, clock, published, untrimmed: 0, retry: None })
    }

    /// The connection, for what happens at start before any change.
    pub(crate) async fn connection(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.options.connect().await?,
        };
        Ok(self.connection.insert(connection))
    }

    /// Starts making changes, on a thread of its own: its futures borrow a transaction and need not be `Send`. `publish` is called
    /// with every revision in order; if it fails, the writer ends.
    pub(crate) fn spawn(
        self,
        publish: impl Fn(u64, Vec<(Digest, Option<Grant>)>) -> Result<(), OutOfOrder> + Send + 'static,
    ) -> std::io::Result<WriterThread> {
        let runtime = tokio::runtime::Handle::current();
        let (ended, end) = oneshot::channel();
        std::thread::Builder::new().name("keygate-writer".to_owned()).spawn(move || {
            // Nobody waits for the end when the process is on its way out.
            let _ = ended.send(runtime.block_on(self.run(publish)));
        })?;
        Ok(WriterThread(end))
    }

    async fn run(
        mut self,
        publish: impl Fn(u64, Vec<(Digest, Option<Grant>)>) -> Result<(), OutOfOrder>,
    ) -> Result<(), OutOfOrder> {
        let mut batch = Vec::with_capacity(MAX_BATCH);
        while self.receive(&mut batch).await {
            match self.commit(&mut batch).await {
                Ok((publications, answers)) => {
                    for (revision, grants) in publications {
                        publish(revision, grants)?;
                        self.published = revision;
                    }
                    self.retry = None;
                    answers.into_iter().for_each(|(answer, revision)| answer(revision));
                }
                Err(error) => {
                    self.connection = None;
                    batch.clear();
                    let pause = self.retry.map_or(FIRST_RETRY, |pause| LAST_RETRY.min(pause * 2));
                    self.retry = Some(pause);
                    tracing::error!(%error, "a batch of changes was not committed; storage is tried again in {pause:?}");
                }
            }
            self.signals.failing.store(self.retry.is_some(), Ordering::Release);
        }
        if let Some(connection) = self.connection
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the database was not closed cleanly; the next start repairs it");
        }
        Ok(())
    }

    /// Waits for a batch; false once the queue is closed and empty. A batch is empty when it is time to try storage again.
    async fn receive(&mut self, batch: &mut Vec<Queued>) -> bool {
        let signals = self.signals.clone();
        let again = async {
            match self.retry {
                Some(pause) => sleep(pause).await,
                None => pending().await,
            }
        };
        tokio::pin!(again);
        loop {
            tokio::select! {
                biased;
                () = signals.stop.notified() => self.queue.close(),
                count = self.queue.recv_many(batch, MAX_BATCH) => return count > 0,
                () = &mut again => return true,
            }
        }
    }

    /// Makes a batch of changes in one transaction. Grants are compiled before the commit, so that a failure to compile undoes the
    /// batch instead of leaving a change that no proxy hears of.
    async fn commit(&mut self, batch: &mut Vec<Queued>) -> Result<(Vec<Publication>, Vec<(Answer, u64)>), StoreError> {
        let now = self.clock.now();
        let (published, untrimmed) = (self.published, self.untrimmed);
        let mut transaction = self.connection().await?.begin_with("BEGIN IMMEDIATE").await?;
        let mut revision = history::revision(&mut transaction).await?;
        // Empty, unless a commit was reported as failed and had succeeded: then its revisions are still owed.
        let mut altered = history::changes_after(&mut transaction, published).await?;
        let mut answers = Vec::with_capacity(batch.len());
        if batch.is_empty() {
            probe(&mut transaction).await?;
        }
        for Queued { actor, operation } in batch.drain(..) {
            let mut savepoint = transaction.begin().await?;
            let mut change = Change { connection: &mut savepoint, actor: &actor, now, touched: BTreeSet::new() };
            let finished = operation(&mut change).await;
            let touched = change.touched;
            if !finished.keep {
                savepoint.rollback().await?;
            } else {
                if !touched.is_empty() {
                    revision += 1;
                    history::record(&mut savepoint, revision, &touched).await?;
                    altered.push((revision, touched));
                }
                savepoint.commit().await?;
            }
            answers.push((finished.answer, revision));
        }
        let untrimmed = untrimmed + altered.iter().map(|(_, digests)| digests.len()).sum::<usize>();
        let trim = untrimmed >= TRIM_AFTER;
        if trim {
            history::trim(&mut transaction, published).await?;
        }
        let publications = compile_revisions(&mut transaction, altered).await?;
        transaction.commit().await?;
        self.untrimmed = if trim { 0 } else { untrimmed };
        Ok((publications, answers))
    }
}

type Answer = Box<dyn FnOnce(u64)>;

/// After the first failed batch in a row storage is tried again so soon, then after twice as long each time.
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LAST_RETRY: Duration = Duration::from_secs(2);

/// The history is trimmed when so many rows were added to it.
const TRIM_AFTER: usize = 20_000;

/// At most this many changes share a transaction.
const MAX_BATCH: usize = 256;

/// Writes about as much as a change does, which means nothing: whether storage takes a change shows only at a write of that size.
/// Bytes that are overwritten by equal ones would not be written.
async fn probe(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM probe").execute(&mut *connection).await?;
    sqlx::query("INSERT INTO probe (bytes) VALUES ($1)").bind(vec![0; PROBE_BYTES]).execute(connection).await?;
    Ok(())
}

const PROBE_BYTES: usize = 64 * 1024;

/// The grants of each revision, as they stand at the end of the batch: a later change of the same batch shows in an earlier
/// revision, which is harmless, since they become durable together.
async fn compile_revisions(
    connection: &mut SqliteConnection,
    altered: Vec<(u64, BTreeSet<Digest>)>,
) -> Result<Vec<Publication>, StoreError> {
    let digests: BTreeSet<Digest> = altered.iter().flat_map(|(_, digests)| digests).copied().collect();
    let grants: HashMap<Digest, Grant> = compile::grants(connection, &digests).await?;
    let grant_of = |digest: Digest| (digest, grants.get(&digest).cloned());
    Ok(altered.into_iter().map(|(revision, digests)| (revision, digests.into_iter().map(grant_of).collect())).collect())
}

/// The thread that makes the changes.
pub(crate) struct WriterThread(oneshot::Receiver<Result<(), OutOfOrder>>);

/// Why the writer ended without being told to. Nothing can be changed any more, and the server must not go on as if it could.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriterFailure {
    #[error("a committed revision could not be published ({0}); the next start compiles the table afresh")]
    Unpublished(OutOfOrder),
    #[error("the writer died")]
    Died,
}

impl WriterThread {
    /// Waits until it has ended: after [`super::Store::stop`], or because it failed.
    pub(crate) async fn ended(&mut self) -> Result<(), WriterFailure> {
        match (&mut self.0).await {
            Ok(end) => end.map_err(WriterFailure::Unpublished),
            Err(_) => Err(WriterFailure::Died),
        }
    }
}
