//! Storage: SQLite, embedded. Owns all SQL, the data folder, and the order of changes; it knows nothing of HTTP and decides
//! nothing about who may do what.
//!
//! Reads go through a small pool of connections that cannot write. Every change goes through the one [`Writer`].

pub(crate) mod account;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod caller;
mod change;
pub(crate) mod compile;
mod counts;
pub(crate) mod environment;
mod folder;
pub(crate) mod history;
pub(crate) mod inspect;
pub(crate) mod key;
pub(crate) mod login;
pub(crate) mod member;
pub(crate) mod password;
pub(crate) mod proxy;
pub(crate) mod proxy_token;
pub(crate) mod restore;
mod row;
pub(crate) mod setting;
#[cfg(test)]
mod tests;
mod trim;
mod usage;
mod writer;

use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Sqlite, SqliteConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::clock::Clock;
use crate::push::{ProxyRegister, TokenLookup};

pub(crate) use change::{Actor, Change, Written};
pub(crate) use counts::Counts;
pub(crate) use folder::DataFolder;
use writer::Signals;
pub(crate) use writer::Writer;
#[cfg(test)]
pub(crate) use writer::WriterThread;

/// Storage could not do what was asked. The message tells the cause too, so it is no source: a chain would say it twice.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("storage failed: {_0}{}", way_out(_0))]
    Storage(sqlx::Error),
    #[error("the schema could not be brought up to date: {0}")]
    Schema(MigrateError),
    #[error("made by a newer keygate; use that version or restore a backup")]
    Newer,
    #[error("storage holds {column} = {value}, which is invalid")]
    Damaged { column: &'static str, value: String },
    #[error("the database is damaged ({0}); restore a backup with keygate restore, which keeps this one")]
    Torn(String),
    #[error("it is not certain that the change was committed; the log says why")]
    NotCommitted,
    #[error("the last changes could not be committed; the log says why")]
    Failing,
    #[error("the server is stopping")]
    Stopped,
}

/// SQLite's primary result codes that are told apart.
const BUSY: i32 = 5;
const READ_ONLY: i32 = 8;
const IO: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANNOT_OPEN: i32 = 14;
const NOT_A_DATABASE: i32 = 26;

/// SQLite's primary result code, if it is SQLite that failed.
fn code(error: &sqlx::Error) -> Option<i32> {
    let extended: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}

/// What an operator can do about it.
fn way_out(error: &sqlx::Error) -> &'static str {
    match code(error) {
        Some(FULL) => "; make room on the disk",
        Some(READ_ONLY | CANNOT_OPEN) => "; let the user who runs keygate read and write the data folder and every file in it",
        Some(CORRUPT | NOT_A_DATABASE) => {
            "; the database is damaged: restore a backup with keygate restore, which keeps this one"
        }
        Some(BUSY) => "; another program has the database open, close it",
        // A full disk shows as this, too: where the journal's index cannot grow.
        Some(IO) => "; the disk is full or has failed: make room on the disk, or see the system's log",
        _ => "",
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Storage(error)
    }
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::VersionMissing(_) => Self::Newer,
            other => Self::Schema(other),
        }
    }
}

const READERS: u32 = 4;
/// So many of them may be busy for long.
const LONG_READS: usize = 2;

/// A connection that very much is read with; another may have its turn when it is dropped.
pub(crate) struct LongRead {
    reader: PoolConnection<Sqlite>,
    _turn: OwnedSemaphorePermit,
}

impl Deref for LongRead {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.reader
    }
}

impl DerefMut for LongRead {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.reader
    }
}

/// A handle to storage; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    readers: SqlitePool,
    /// Fewer than there are readers: whoever reads little always finds one.
    long_reads: Arc<Semaphore>,
    queue: mpsc::Sender<writer::Queued>,
    signals: Arc<Signals>,
    clock: Clock,
    usage: Arc<usage::Waiting>,
}

impl Store {
    /// Opens a database file and brings its schema up to date. Nothing is written until the writer runs.
    pub(crate) async fn open(database: &Path, clock: Clock) -> Result<(Self, Writer), StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(database)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5));
        let mut connection = options.connect().await?;
        read_every_page(&mut connection).await?;
        sqlx::migrate!().run(&mut connection).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            // They stay open once they are needed: when the process has no file left, whoever is served already still is.
            .idle_timeout(None)
            .max_lifetime(None)
            // They are when they are given back; one more question to each would take as long as most reads.
            .test_before_acquire(false)
            .acquire_timeout(Duration::from_secs(5))
            .connect_lazy_with(options.clone().read_only(true));
        let (queue, queued) = mpsc::channel(1024);
        let signals = Arc::new(Signals::default());
        let writer = Writer::new(options, connection, queued, signals.clone(), clock.clone()).await?;
        Ok((
            Self { readers, long_reads: Arc::new(Semaphore::new(LONG_READS)), queue, signals, clock, usage: Arc::default() },
            writer,
        ))
    }

    /// The clock that stamps the changes.
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// A connection to read with.
    pub(crate) async fn read(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        Ok(self.readers.acquire().await?)
    }

    /// A connection to read very much with, a thing at a time. Few have one at once; others wait their turn.
    pub(crate) async fn read_long(&self) -> Result<LongRead, StoreError> {
        let turn = self.long_reads.clone().acquire_owned().await.map_err(|_| StoreError::Stopped)?;
        Ok(LongRead { reader: self.read().await?, _turn: turn })
    }

    /// Queues a change and waits until it is durable and published, or refused. The operation runs in a transaction: if it fails,
    /// nothing of it stays.
    pub(crate) async fn write<T, E, F>(&self, actor: Actor, operation: F) -> Result<Written<T>, E>
    where
        F: AsyncFnOnce(&mut Change<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let queued = writer::Queued::new(actor, operation, reply);
        self.queue.send(queued).await.map_err(|_| StoreError::Stopped)?;
        // The writer drops the reply when the whole batch fails, after it has logged why.
        answer.await.map_err(|_| StoreError::NotCommitted)?
    }

    /// What storage has counted.
    pub(crate) fn counts(&self) -> &Counts {
        &self.signals.counts
    }

    /// Whether the last changes could not be committed.
    pub(crate) fn is_failing(&self) -> bool {
        self.signals.failing.load(Ordering::Acquire)
    }

    /// Whether storage answers and takes changes, as far as the last one has shown.
    pub(crate) async fn check(&self) -> Result<(), StoreError> {
        if self.queue.is_closed() {
            return Err(StoreError::Stopped);
        }
        if self.is_failing() {
            return Err(StoreError::Failing);
        }
        history::revision(&mut *self.read().await?).await?;
        Ok(())
    }

    /// Takes no further changes; those in the queue are still made. The writer's connection is closed last: only one that may write
    /// brings the journal home and takes it away.
    pub(crate) async fn stop(&self) {
        self.readers.close().await;
        self.signals.stop.notify_one();
    }

    /// What the push calls before it serves a proxy that it has not seen before.
    pub(crate) fn proxy_register(&self) -> ProxyRegister {
        let store = self.clone();
        Arc::new(move |proxy| {
            let store = store.clone();
            Box::pin(async move {
                let remember = async move |change: &mut Change<'_>| proxy::remember(change, &proxy).await;
                store.write::<_, StoreError, _>(Actor::Sync, remember).await?;
                Ok(())
            })
        })
    }

    /// What the push calls to learn how a proxy's name stands with the join token that it shows.
    pub(crate) fn token_lookup(&self) -> TokenLookup {
        let store = self.clone();
        Arc::new(move |proxy, digest| {
            let store = store.clone();
            Box::pin(async move { Ok(proxy_token::standing(&mut *store.read().await?, &proxy, digest.as_ref()).await?) })
        })
    }
}

/// Reads every page once. A damaged one might else be found only when it is needed, or never, and a key be missing until then.
async fn read_every_page(connection: &mut Connection) -> Result<(), StoreError> {
    let found: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(connection).await?;
    if found == "ok" { Ok(()) } else { Err(StoreError::Torn(found)) }
}

/// What every read function takes: a reader's connection, or the one inside a change.
pub(crate) type Connection = SqliteConnection;
