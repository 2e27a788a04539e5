//! A copy of the database in one file, made while others read and write. It stands by itself, appears under its name only when it is
//! whole and on disk, and never takes the place of another file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keygate_decision::UnixSeconds;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _};

use super::StoreError;
use super::folder::{FolderError, io_error};
use super::inspect::{Contents, Unfit, inspect};
use crate::random::{self, NoRandomness};

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    #[error("{0} exists; a backup never takes the place of a file: choose another name")]
    Exists(String),
    #[error("there is no folder {0}; make it first (mkdir -p {0}), or name a file in another one")]
    NoFolder(String),
    #[error(transparent)]
    File(#[from] FolderError),
    #[error("copying to {to}: {cause}")]
    Copy { to: String, cause: StoreError },
    #[error("the copy {0}; the data may be damaged, or the disk of the backup")]
    Unfit(Unfit),
    #[error("{0} is no path that storage can take: use one that is UTF-8")]
    Unspeakable(String),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
}

/// Copies a database, as it is at one moment, to a new file that only its owner may read, and reads the copy again.
/// What passes at the second `now` is counted.
pub(crate) async fn save(database: &Path, file: &Path, now: UnixSeconds) -> Result<Contents, BackupError> {
    if file.symlink_metadata().is_ok() {
        return Err(BackupError::Exists(file.display().to_string()));
    }
    let partial = Partial::create(file)?;
    partial.fill(database).await.map_err(|cause| BackupError::Copy { to: file.display().to_string(), cause })?;
    File::open(&partial.path).and_then(|copy| copy.sync_all()).map_err(io_error(&partial.path))?;
    let contents = inspect(&partial.path, now).await.map_err(BackupError::Unfit)?;
    partial.publish(file)?;
    Ok(contents)
}

/// An unfinished copy, removed when dropped.
struct Partial {
    path: PathBuf,
    /// The same, for storage.
    name: String,
}

impl Partial {
    /// An empty file beside the one that it is to become: they must be on one file system.
    fn create(file: &Path) -> Result<Self, BackupError> {
        let mut name = file.file_name().unwrap_or_default().to_owned();
        name.push(format!(".partial-{}", hex::encode(random::bytes::<4>()?)));
        // Absolute, or a path might be read as a URI.
        let path = std::path::absolute(file.with_file_name(name)).map_err(io_error(file))?;
        let name = path.to_str().ok_or_else(|| BackupError::Unspeakable(file.display().to_string()))?.to_owned();
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        made.map_err(|cause| match (cause.kind(), path.parent()) {
            (ErrorKind::NotFound, Some(folder)) => BackupError::NoFolder(folder.display().to_string()),
            _ => io_error(&path)(cause).into(),
        })?;
        Ok(Self { path, name })
    }

    /// One read transaction: it sees one moment, however long it takes and whatever is changed meanwhile.
    async fn fill(&self, database: &Path) -> Result<(), StoreError> {
        let options = SqliteConnectOptions::new().filename(database).read_only(true).busy_timeout(Duration::from_secs(5));
        let mut connection = options.connect().await?;
        sqlx::query("VACUUM INTO $1").bind(&self.name).execute(&mut connection).await?;
        Ok(connection.close().await?)
    }

    /// Gives it its name, if nothing has that name.
    fn publish(self, file: &Path) -> Result<(), BackupError> {
        let named = match fs::hard_link(&self.path, file) {
            // A file system without links. Nothing has had the name so far.
            Err(error) if error.kind() != ErrorKind::AlreadyExists && !file.exists() => fs::rename(&self.path, file),
            linked => linked,
        };
        named.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => BackupError::Exists(file.display().to_string()),
            _ => io_error(file)(error).into(),
        })?;
        sync_folder_of(file).map_err(|error| io_error(file)(error).into())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // It is gone already where it was renamed, and its journal where it was filled.
        let _ = fs::remove_file(&self.path);
        let _ = fs::remove_file(format!("{}-journal", self.name));
    }
}

/// Makes names in the folder of a file as durable as the file.
pub(super) fn sync_folder_of(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
