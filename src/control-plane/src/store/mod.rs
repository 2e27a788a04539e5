//! Storage: SQLite, embedded. Owns all SQL, the data folder, and the order of changes; it knows nothing of HTTP and decides
//! nothing about who may do what.
//!
//! Reads go through a small pool of connections that cannot write. Every change goes through the one [`Writer`].

pub(crate) mod account;
pub(crate) mod audit;
pub(crate) mod compile;
pub(crate) mod environment;
mod folder;
pub(crate) mod history;
pub(crate) mod key;
pub(crate) mod login;
pub(crate) mod member;
pub(crate) mod password;
pub(crate) mod proxy;
mod row;
pub(crate) mod setting;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Sqlite, SqliteConnection};
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::push::ProxyRegister;

pub(crate) use folder::DataFolder;
use writer::Signals;
#[cfg(test)]
pub(crate) use writer::WriterThread;
pub(crate) use writer::{Actor, Change, Writer, Written};

/// Storage could not do what was asked. The message tells the cause too, so it is no source: a chain would say it twice.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("storage failed: {0}")]
    Storage(sqlx::Error),
    #[error("the schema could not be brought up to date: {0}")]
    Schema(MigrateError),
    #[error("made by a newer keygate; use that version or restore a backup")]
    Newer,
    #[error("storage holds {column} = {value}, which is invalid")]
    Damaged { column: &'static str, value: String },
    #[error("it is not certain that the change was committed; the log says why")]
    NotCommitted,
    #[error("the last changes could not be committed; the log says why")]
    Failing,
    #[error("the server is stopping")]
    Stopped,
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

/// A handle to storage; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    readers: SqlitePool,
    queue: mpsc::Sender<writer::Queued>,
    signals: Arc<Signals>,
    clock: Clock,
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
        sqlx::migrate!().run(&mut connection).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(4)
            .acquire_timeout(Duration::from_secs(5))
            .connect_lazy_with(options.clone().read_only(true));
        let (queue, queued) = mpsc::channel(1024);
        let signals = Arc::new(Signals::default());
        let writer = Writer::new(options, connection, queued, signals.clone(), clock.clone()).await?;
        Ok((Self { readers, queue, signals, clock }, writer))
    }

    /// The clock that stamps the changes.
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// A connection to read with.
    pub(crate) async fn read(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        Ok(self.readers.acquire().await?)
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

    /// Whether storage answers and takes changes, as far as the last one has shown.
    pub(crate) async fn check(&self) -> Result<(), StoreError> {
        if self.queue.is_closed() {
            return Err(StoreError::Stopped);
        }
        if self.signals.failing.load(Ordering::Acquire) {
            return Err(StoreError::Failing);
        }
        history::revision(&mut *self.read().await?).await?;
        Ok(())
    }

    /// Takes no further changes; those in the queue are still made.
    pub(crate) async fn stop(&self) {
        self.signals.stop.notify_one();
        self.readers.close().await;
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
}

/// What every read function takes: a reader's connection, or the one inside a change.
pub(crate) type Connection = SqliteConnection;
