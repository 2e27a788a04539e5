//! The data folder: one directory that holds everything, for its owner's eyes only, used by one process at a time. It never looks into
//! the database.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
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
    #[error("another keygate uses {0}; stop it first (one server, init, recover or restore at a time)")]
    InUse(String),
    #[error(
        "{0} can be entered by other users and holds other files too; make it private (chmod 700 {0}) or choose a folder of its own"
    )]
    Shared(String),
    // The cause is part of the message, so it is no source: a chain would say it twice.
    #[error("{path}: {cause}{}", way_out(.cause))]
    Io { path: String, cause: io::Error },
}

/// What an operator can do about it.
fn way_out(cause: &io::Error) -> &'static str {
    match cause.kind() {
        ErrorKind::PermissionDenied => "; give it to the user who runs keygate (chown), or run keygate as its owner",
        ErrorKind::ReadOnlyFilesystem => "; choose a folder that can be written, or mount its file system for writing",
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "; make room on the disk",
        ErrorKind::AlreadyExists => "; move it away, or try again in a moment",
        ErrorKind::NotADirectory => "; name a folder, not a file",
        _ => "",
    }
}

impl DataFolder {
    /// The database of a folder that may be in use.
    pub(crate) fn find(path: &Path) -> Result<PathBuf, FolderError> {
        let database = path.join(DATABASE);
        match database.try_exists().map_err(io_error(&database))? {
            true => Ok(database),
            false => Err(FolderError::Uninitialized(path.display().to_string())),
        }
    }

    /// Opens a folder that has a database.
    pub(crate) fn open(path: &Path) -> Result<Self, FolderError> {
        let database = Self::find(path)?;
        let lock = lock(path)?;
        close_to_others(path)?;
        Ok(Self { database, _lock: lock })
    }

    /// Opens a folder, making it and an empty database if need be.
    pub(crate) fn create(path: &Path) -> Result<Self, FolderError> {
        let folder = Self::prepare(path)?;
        // SQLite gives its journals the permissions of the database.
        private_file(&folder.database).map_err(io_error(&folder.database))?;
        Ok(folder)
    }

    /// Opens a folder, making it if need be, whether or not there is a database.
    pub(crate) fn prepare(path: &Path) -> Result<Self, FolderError> {
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => io_error(path)(ErrorKind::NotADirectory.into()),
            _ => io_error(path)(error),
        })?;
        close_to_others(path)?;
        let lock = lock(path)?;
        Ok(Self { database: path.join(DATABASE), _lock: lock })
    }

    /// The database file.
    pub(crate) fn database(&self) -> &Path {
        &self.database
    }
}

const DATABASE: &str = "keygate.db";
const LOCK: &str = "lock";

/// Takes all access to the folder and its files from other users. A folder that is not Keygate's alone is left as it is: it may be one
/// that others need.
fn close_to_others(folder: &Path) -> Result<(), FolderError> {
    let mut shared = false;
    for entry in fs::read_dir(folder).map_err(io_error(folder))? {
        let entry = entry.map_err(io_error(folder))?;
        let name = entry.file_name();
        if name == LOCK || name.as_encoded_bytes().starts_with(DATABASE.as_bytes()) {
            // Whoever serves may be somebody else than who restores: no link of theirs leads to another file.
            if !entry.file_type().map_err(io_error(folder))?.is_file() {
                return Err(io_error(&entry.path())(io::Error::other("it is no file of its own: take it out of the folder")));
            }
            restrict(&entry.path(), 0o600)?;
        } else {
            shared = true;
        }
    }
    if shared && is_open_to_others(folder)? {
        return Err(FolderError::Shared(folder.display().to_string()));
    }
    restrict(folder, 0o700)
}

fn restrict(path: &Path, mode: u32) -> Result<(), FolderError> {
    if is_open_to_others(path)? {
        fs::set_permissions(path, Permissions::from_mode(mode)).map_err(io_error(path))?;
    }
    Ok(())
}

fn is_open_to_others(path: &Path) -> Result<bool, FolderError> {
    let metadata = fs::metadata(path).map_err(io_error(path))?;
    Ok(metadata.permissions().mode() & 0o077 != 0)
}

fn lock(folder: &Path) -> Result<File, FolderError> {
    let path = folder.join(LOCK);
    let file = private_file(&path).map_err(io_error(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(FolderError::InUse(folder.display().to_string())),
        Err(TryLockError::Error(error)) => Err(io_error(&path)(error)),
    }
}

/// Opens a file, making it if need be: for the owner of the folder alone, and never where a link leads to.
fn private_file(path: &Path) -> io::Result<File> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(made) => {
            // Who may not give it away serves as who made it, or is told at the start that it belongs to somebody else.
            let _ = give_to_owner_of_folder(&made, path);
            Ok(made)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => OpenOptions::new().write(true).open(path),
        Err(error) => Err(error),
    }
}

/// Gives a file to whom its folder belongs: what root makes, the user who serves still has to open.
pub(super) fn give_to_owner_of_folder(file: &File, path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent().map(fs::metadata).transpose()? {
        let own = file.metadata()?;
        if (own.uid(), own.gid()) != (folder.uid(), folder.gid()) {
            fchown(file, Some(folder.uid()), Some(folder.gid()))?;
        }
    }
    Ok(())
}

/// Names the path in an error of the operating system.
pub(super) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.display().to_string();
    |cause| FolderError::Io { path, cause }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;
    use crate::api::Scratch;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_others_could_read_is_closed_to_them() {
        let scratch = Scratch::new();
        fs::create_dir(scratch.path()).unwrap();
        fs::set_permissions(scratch.path(), Permissions::from_mode(0o755)).unwrap();
        let database = scratch.path().join("keygate.db");
        for file in [&database, &scratch.path().join("keygate.db-wal")] {
            fs::write(file, "").unwrap();
            fs::set_permissions(file, Permissions::from_mode(0o644)).unwrap();
        }
        let folder = DataFolder::open(scratch.path()).unwrap();
        assert_eq!((mode(scratch.path()), mode(folder.database())), (0o700, 0o600));
        assert_eq!(mode(&scratch.path().join("keygate.db-wal")), 0o600);
    }

    #[test]
    fn a_file_is_no_folder() {
        let scratch = Scratch::new();
        fs::write(scratch.path(), "").unwrap();
        let refused = DataFolder::create(scratch.path()).unwrap_err().to_string();
        assert!(refused.contains("name a folder"), "{refused}");
        fs::remove_file(scratch.path()).unwrap();
    }

    #[test]
    fn a_folder_that_others_use_too_is_refused_and_left_as_it_is() {
        let scratch = Scratch::new();
        fs::create_dir(scratch.path()).unwrap();
        fs::set_permissions(scratch.path(), Permissions::from_mode(0o755)).unwrap();
        fs::write(scratch.path().join("theirs"), "").unwrap();
        let refused = DataFolder::create(scratch.path()).unwrap_err().to_string();
        assert!(refused.contains("chmod 700"), "{refused}");
        assert_eq!((mode(scratch.path()), fs::read_dir(scratch.path()).unwrap().count()), (0o755, 1));
        fs::set_permissions(scratch.path(), Permissions::from_mode(0o700)).unwrap();
        assert!(DataFolder::create(scratch.path()).is_ok());
    }

    #[test]
    fn what_root_makes_belongs_to_whom_the_folder_belongs() {
        let scratch = Scratch::new();
        fs::create_dir(scratch.path()).unwrap();
        // Nobody else can give a folder away.
        if chown(scratch.path(), Some(4242), Some(4343)).is_err() {
            return;
        }
        let folder = DataFolder::create(scratch.path()).unwrap();
        for file in [folder.database(), scratch.path().join(LOCK).as_path()] {
            let found = fs::metadata(file).unwrap();
            assert_eq!((found.uid(), found.gid(), mode(file)), (4242, 4343, 0o600), "{}", file.display());
        }
    }

    #[test]
    fn nothing_is_made_where_a_link_leads_to() {
        let scratch = Scratch::new();
        fs::create_dir(scratch.path()).unwrap();
        fs::write(scratch.path().join(DATABASE), "").unwrap();
        symlink("elsewhere", scratch.path().join(LOCK)).unwrap();
        assert!(DataFolder::open(scratch.path()).is_err());
        assert!(!scratch.path().join("elsewhere").exists());
    }
}
