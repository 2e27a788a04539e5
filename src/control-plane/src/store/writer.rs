//! The one writer. Owns the only connection that writes, the order of changes and their revisions.
//!
//! Queued changes are batched into one transaction (group commit), each in a savepoint of its own, so that one that fails does
//! not spoil the others. A change that alters grants gets the next revision. Nobody is answered before the batch is durable and
//! published. After a failed batch the writer tries again by itself until storage works; when a revision cannot be published it ends,
//! for then the proxies no longer get what storage holds.

use std::collections::{BTreeSet, HashMap};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use keygate_decision::{Digest, Grant};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;

use super::change::{Actor, Change, Made, Written};
use super::counts::Counts;
use super::trim::Trimming;
use super::{StoreError, audit, compile, history};
use crate::clock::{Clock, until};
use crate::push::OutOfOrder;

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
    /// See [`Counts`].
    pub(super) counts: Counts,
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
    /// Absent where nothing is to be forgotten: on a stopped server's data nobody has said how long to keep it.
    trimming: Option<Trimming>,
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
        Ok(Self {
            options,
            connection: Some(connection),
            queue,
            signals,
            clock,
            published,
            untrimmed: 0,
            trimming: None,
            retry: None,
        })
    }

    /// The connection, for what happens at start before any change.
    pub(crate) async fn connection(&mut self) -> Result<&mut SqliteConnection, StoreError> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.options.connect().await?,
        };
        Ok(self.connection.insert(connection))
    }

    /// Forgets what is old from now on: audit records after so many days, history when no proxy is likely to need it.
    pub(crate) fn trim(&mut self, audit_days: u32) {
        self.trimming = Some(Trimming::new(audit_days));
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
        let mut answers = Vec::with_capacity(MAX_BATCH);
        loop {
            match self.next(&mut batch).await {
                Next::Commit => self.make(&mut batch, &mut answers, &publish).await?,
                Next::Trim => self.forget().await,
                Next::End => break,
            }
        }
        if let Some(connection) = self.connection
            && let Err(error) = connection.close().await
        {
            tracing::warn!(%error, "the database was not closed cleanly; the next start repairs it");
        }
        Ok(())
    }

    /// Waits for something to do.
    async fn next(&mut self, batch: &mut Vec<Queued>) -> Next {
        let signals = self.signals.clone();
        let again = until(self.retry.map(|pause| Instant::now() + pause));
        // What cannot be changed cannot be trimmed.
        let trim = until(self.trimming.filter(|_| self.retry.is_none()).map(|trimming| trimming.due));
        tokio::pin!(again, trim);
        loop {
            tokio::select! {
                biased;
                () = signals.stop.notified() => self.queue.close(),
                // Before the changes, which may be many without a pause; it is a small step, and not soon followed by another.
                () = &mut trim => return Next::Trim,
                count = self.queue.recv_many(batch, MAX_BATCH) => return if count > 0 { Next::Commit } else { Next::End },
                () = &mut again => return Next::Commit,
            }
        }
    }

    /// Makes a batch, publishes it, and answers. Whether storage fails is noted before anybody is answered: who is refused, and looks,
    /// must not find it well.
    async fn make(
        &mut self,
        batch: &mut Vec<Queued>,
        answers: &mut Vec<(Answer, u64)>,
        publish: impl Fn(u64, Vec<(Digest, Option<Grant>)>) -> Result<(), OutOfOrder>,
    ) -> Result<(), OutOfOrder> {
        let started = Instant::now();
        match self.commit(batch, answers).await {
            Ok(publications) => {
                self.signals.counts.commit_seconds.observe(started.elapsed().as_secs_f64());
                for (revision, grants) in publications {
                    publish(revision, grants).inspect_err(|_| self.signals.failing.store(true, Ordering::Release))?;
                    self.published = revision;
                }
                self.retry = None;
                self.signals.failing.store(false, Ordering::Release);
                answers.drain(..).for_each(|(answer, revision)| answer(revision));
            }
            Err(error) => {
                let pause = self.retry.map_or(FIRST_RETRY, |pause| LAST_RETRY.min(pause * 2));
                self.retry = Some(pause);
                self.connection = None;
                self.signals.counts.failed_commits.inc();
                tracing::error!(%error, "a batch of changes was not committed; storage is tried again in {pause:?}");
                self.signals.failing.store(true, Ordering::Release);
                batch.clear();
                answers.clear();
            }
        }
        Ok(())
    }

    /// Makes a batch of changes in one transaction; without any, tries whether storage works. Grants are compiled before the commit, so
    /// that a failure to compile undoes the batch instead of leaving a change that no proxy hears of. Whoever is not in `answers` when it
    /// fails is still in `batch`.
    async fn commit(
        &mut self,
        batch: &mut Vec<Queued>,
        answers: &mut Vec<(Answer, u64)>,
    ) -> Result<Vec<Publication>, StoreError> {
        let now = self.clock.now();
        let published = self.published;
        let mut transaction = self.connection().await?.begin_with("BEGIN IMMEDIATE").await?;
        let mut revision = history::revision(&mut transaction).await?;
        // Empty, unless a commit was reported as failed and had succeeded: then its revisions are still owed.
        let owed = history::changes_after(&mut transaction, published).await?;
        let mut altered = Vec::new();
        let mut notes = Vec::new();
        let mut kept = 0;
        if batch.is_empty() {
            probe(&mut transaction).await?;
        }
        batch.reverse();
        sqlx::raw_sql("SAVEPOINT made").execute(&mut *transaction).await?;
        while let Some(Queued { actor, operation }) = batch.pop() {
            let mut change = Change::new(&mut transaction, &actor, now);
            let finished = operation(&mut change).await;
            let Made { touched, noted } = change.made();
            let alters = finished.keep && !touched.is_empty();
            revision += u64::from(alters);
            answers.push((finished.answer, revision));
            if !finished.keep {
                sqlx::raw_sql("ROLLBACK TO made").execute(&mut *transaction).await?;
                continue;
            }
            kept += 1;
            notes.extend(noted);
            if alters {
                altered.push((revision, touched));
            }
            sqlx::raw_sql("RELEASE made; SAVEPOINT made").execute(&mut *transaction).await?;
        }
        audit::write(&mut transaction, &notes).await?;
        history::record(&mut transaction, &altered, now).await?;
        let altered: Vec<_> = owed.into_iter().chain(altered).collect();
        let recorded = altered.iter().map(|(_, digests)| digests.len()).sum::<usize>();
        let publications = compile_revisions(&mut transaction, altered).await?;
        transaction.commit().await?;
        self.signals.counts.changes.inc_by(kept);
        self.count_untrimmed(recorded);
        Ok(publications)
    }

    /// Much new history is trimmed soon.
    fn count_untrimmed(&mut self, recorded: usize) {
        self.untrimmed += recorded;
        if let Some(trimming) = self.trimming.as_mut().filter(|_| self.untrimmed >= TRIM_AFTER) {
            trimming.due = Instant::now();
            self.untrimmed = 0;
        }
    }

    /// Trims a little. It may fail: then whether storage takes changes is for the next change to show.
    async fn forget(&mut self) {
        let (now, published, signals) = (self.clock.now(), self.published, self.signals.clone());
        let Some(mut trimming) = self.trimming else { return };
        let trimmed = match self.connection().await {
            Ok(connection) => trimming.step(connection, published, now, &signals.counts).await,
            Err(error) => Err(error),
        };
        self.trimming = Some(trimming);
        if let Err(error) = trimmed {
            self.connection = None;
            tracing::warn!(%error, "old changes and audit records were not trimmed; it is tried again in an hour");
        }
    }
}

/// What the writer does next.
enum Next {
    /// A batch is there; without any, it is time to try storage again.
    Commit,
    /// Something is to be forgotten.
    Trim,
    /// The queue is closed and empty.
    End,
}

type Answer = Box<dyn FnOnce(u64)>;

/// After the first failed batch in a row storage is tried again so soon, then after twice as long each time.
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LAST_RETRY: Duration = Duration::from_secs(2);

/// The history is trimmed when so many rows were added to it, whatever the time.
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
