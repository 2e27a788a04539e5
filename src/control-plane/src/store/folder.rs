//! The data folder: one directory that holds everything, used by one process at a time. It never looks into the database.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A data folder that this process alone uses; the lock goes with the value.
#[derive(Debug)]
pub(crate) struct DataFolder {
    database: PathBuf,
    _lock: File,
}

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FolderError {
    #[error("{0} holds no data of Keygate; create it with: keygate init --data {0}")]
    Uninitialized(String),
    #[error("another keygate uses {0}; stop it first (one server, init or recover at a time)")]
    InUse(String),
    #[error("{path}: {source}")]
    Io { path: String, source: std::io::Error },
}

impl DataFolder {
    /// Opens a folder that has a database.
    pub(crate) fn open(path: &Path) -> Result<Self, FolderError> {
        let database = path.join(DATABASE);
        if !database.try_exists().map_err(io_error(&database))? {
            return Err(FolderError::Uninitialized(path.display().to_string()));
        }
        Ok(Self { database, _lock: lock(path)? })
    }

    /// Opens a folder, making it and an empty database if need be, for the owner's eyes only.
    pub(crate) fn create(path: &Path) -> Result<Self, FolderError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io_error(path))?;
        let lock = lock(path)?;
        let database = path.join(DATABASE);
        // SQLite gives its journals the permissions of the database.
        private_file(&database).map_err(io_error(&database))?;
        Ok(Self { database, _lock: lock })
    }

    /// The database file.
    pub(crate) fn database(&self) -> &Path {
        &self.database
    }
}

const DATABASE: &str = "keygate.db";

fn lock(folder: &Path) -> Result<File, FolderError> {
    let path = folder.join("lock");
    let file = private_file(&path).map_err(io_error(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(FolderError::InUse(folder.display().to_string())),
        Err(TryLockError::Error(error)) => Err(io_error(&path)(error)),
    }
}

fn private_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn io_error(path: &Path) -> impl FnOnce(std::io::Error) -> FolderError {
    let path = path.display().to_string();
    |source| FolderError::Io { path, source }
}
