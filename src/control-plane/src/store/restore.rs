//! Another database in the place of the present one. At any moment, also when the process is killed, the folder holds either all of the
//! old data or all of the new; the old is kept under another name.
//!
//! The danger is a journal of the old database: SQLite would read it into the new one. So it is first folded into the old database,
//! and none is there when the name changes hands.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use keygate_decision::UnixSeconds;
use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _};

use super::backup::sync_folder_of;
use super::change::Note;
use super::folder::{DataFolder, FolderError, give_to_owner_of_folder, io_error};
use super::inspect::{Contents, Difference, Unfit, compare, inspect};
use super::{Actor, BUSY, CORRUPT, Connection, NOT_A_DATABASE, StoreError, audit, code, history, login, proxy};
use crate::clock;

/// Why nothing was restored. Nothing is changed then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    #[error("{file} {why}; nothing was changed")]
    Unfit { file: String, why: Unfit },
    #[error("{0} belongs to a database that may be in use; make a copy that stands by itself with keygate backup")]
    Journal(String),
    #[error("{0} is no file that can be read more than once: write what comes from there to a file first; nothing was changed")]
    NoFile(String),
    #[error("another program has {0} open; stop it first")]
    InUse(String),
    #[error("the present data in {path} cannot be put aside, nothing was changed: {cause}")]
    Present { path: String, cause: StoreError },
    #[error(transparent)]
    File(#[from] FolderError),
}

/// A file that was found to be a whole backup where it lies.
#[derive(Debug)]
pub(crate) struct Found<'p>(&'p Path);

/// A backup that was copied into the folder and found whole. Dropped, it leaves no trace.
#[derive(Debug)]
pub(crate) struct Staged<'f> {
    folder: &'f DataFolder,
    path: PathBuf,
    contents: Contents,
}

/// What has become of the old data.
#[derive(Debug)]
pub(crate) struct Replaced {
    /// Where the old data is; none if there was none.
    pub(crate) kept: Option<PathBuf>,
    /// What keys may do now and could not, and the reverse; none if the old data cannot be read.
    pub(crate) difference: Option<Difference>,
    /// Whether the proxies that the old data knew are known now, too.
    pub(crate) proxies_known: bool,
}

/// Reads a backup whole where it lies, so that nothing at all is made for one that cannot be used.
pub(crate) async fn find(file: &Path, now: UnixSeconds) -> Result<Found<'_>, RestoreError> {
    for journal in ["-wal", "-journal"].map(|end| beside(file, end)) {
        if journal.metadata().is_ok_and(|found| found.len() > 0) {
            return Err(RestoreError::Journal(journal.display().to_string()));
        }
    }
    if !file.metadata().map_err(io_error(file))?.is_file() {
        return Err(RestoreError::NoFile(file.display().to_string()));
    }
    let mut source = File::open(file).map_err(io_error(file))?;
    if !begins_as_a_database(&mut source).map_err(io_error(file))? {
        return Err(unfit(file)(Unfit::NoDatabase));
    }
    inspect(file, now).await.map_err(unfit(file))?;
    Ok(Found(file))
}

/// Copies a backup into the folder and reads the copy whole: that is what will be served. What passes at the second `now` is
/// counted.
pub(crate) async fn stage<'f>(folder: &'f DataFolder, found: Found<'_>, now: UnixSeconds) -> Result<Staged<'f>, RestoreError> {
    let Found(file) = found;
    let path = beside(folder.database(), ".restoring");
    // A journal of an earlier attempt that was killed would be read into this copy.
    for left in [path.clone(), beside(&path, "-journal"), beside(&path, "-wal"), beside(&path, "-shm")] {
        remove(&left)?;
    }
    let mut staged = Staged { folder, path, contents: Contents::default() };
    copy(file, &staged.path).map_err(io_error(&staged.path))?;
    staged.contents = inspect(&staged.path, now).await.map_err(unfit(file))?;
    begin_anew(&staged.path, staged.contents, now).await.map_err(|error| unfit(file)(Unfit::Store(error)))?;
    Ok(staged)
}

fn unfit(file: &Path) -> impl FnOnce(Unfit) -> RestoreError {
    let file = file.display().to_string();
    |why| RestoreError::Unfit { file, why }
}

/// Makes a copy a beginning of its own. Its logins are ended: some of them have been ended since, for a reason that the copy does not know.
/// And the line of revisions that led to it is forgotten, so that every proxy is given the whole table: what one has of that line may be
/// such a login, or another future than the copy's own. The record says so: else it would show a past without a seam.
async fn begin_anew(path: &Path, contents: Contents, now: UnixSeconds) -> Result<(), StoreError> {
    let mut connection = open_staged(path).await?;
    let detail = json!({"revision": contents.revision, "lastChange": contents.last_change.map(clock::rfc3339)}).to_string();
    let (actor, object) = (Actor::Local.to_string(), "data".to_owned());
    audit::write(&mut connection, &[Note { time: now, actor, action: "data.restore", object, detail }]).await?;
    history::forget_epochs(&mut connection).await?;
    proxy::forget_limits(&mut connection).await?;
    // The copy may be older than they are.
    if login::are_known(&mut connection).await? {
        login::end_all(&mut connection).await?;
    }
    Ok(connection.close().await?)
}

async fn open_staged(path: &Path) -> Result<Connection, StoreError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        // So that nothing of it is left beside the file.
        .journal_mode(SqliteJournalMode::Delete)
        .synchronous(SqliteSynchronous::Full);
    Ok(options.connect().await?)
}

impl Staged<'_> {
    /// What it holds.
    pub(crate) fn contents(&self) -> Contents {
        self.contents
    }

    /// Learns from the database that is replaced how long proxies may go on, and which have come since.
    async fn carry_limits(&self) -> Result<(), StoreError> {
        let mut from: Connection =
            SqliteConnectOptions::new().filename(self.folder.database()).read_only(true).immutable(true).connect().await?;
        let mut to = open_staged(&self.path).await?;
        let mut change = to.begin().await?;
        proxy::carry_limits(&mut from, &mut change).await?;
        change.commit().await?;
        from.close().await?;
        Ok(to.close().await?)
    }

    /// Puts it in the place of what is there.
    pub(crate) async fn put(self, now: UnixSeconds) -> Result<Replaced, RestoreError> {
        let database = self.folder.database();
        let (wal, shm) = (beside(database, "-wal"), beside(database, "-shm"));
        let mut replaced = Replaced { kept: None, difference: None, proxies_known: false };
        if database.try_exists().map_err(io_error(database))? {
            let folded = fold_journal(database).await?;
            if folded {
                replaced.difference = compare(database, &self.path, now).await.ok();
                let carried = self.carry_limits().await;
                carried
                    .as_ref()
                    .err()
                    .inspect(|error| tracing::error!(%error, "the proxies of the data that was there are not known"));
                replaced.proxies_known = carried.is_ok();
            }
            let name = clock::rfc3339(now).replace(['-', ':'], "");
            let kept = beside(database, &format!(".before-restore-{name}"));
            keep(database, &kept).map_err(io_error(&kept))?;
            if !folded && wal.try_exists().map_err(io_error(&wal))? {
                // Of a database that is damaged: whoever tries to mend it may want this, too.
                let kept = beside(&kept, "-wal");
                keep(&wal, &kept).map_err(io_error(&kept))?;
            }
            sync_folder_of(database).map_err(io_error(database))?;
            replaced.kept = Some(kept);
        }
        remove(&wal)?;
        remove(&shm)?;
        // The removals must not be undone by a power failure that spares the new name.
        sync_folder_of(database).map_err(io_error(database))?;
        fs::rename(&self.path, database).map_err(io_error(database))?;
        sync_folder_of(database).map_err(io_error(database))?;
        Ok(replaced)
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        // It is gone already where it was put in place.
        let _ = fs::remove_file(&self.path);
    }
}

/// Gives a file another name, under which it stays when something else takes its place; a copy where the file system has no links.
fn keep(file: &Path, kept: &Path) -> io::Result<()> {
    match fs::hard_link(file, kept) {
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unsupported) => copy(file, kept),
        linked => linked,
    }
}

/// Writes what the journal holds into the database and removes it; false if the database is damaged, so that it cannot be done.
async fn fold_journal(database: &Path) -> Result<bool, RestoreError> {
    let path = database.display().to_string();
    let fold = async {
        let options = SqliteConnectOptions::new().filename(database).busy_timeout(Duration::from_secs(1));
        let mut connection: Connection = options.connect().await?;
        let (busy, _, _): (i64, i64, i64) = sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok::<_, sqlx::Error>(busy != 0)
    };
    match fold.await {
        Ok(false) => Ok(true),
        Ok(true) => Err(RestoreError::InUse(path)),
        Err(error) => match code(&error) {
            Some(BUSY) => Err(RestoreError::InUse(path)),
            Some(CORRUPT | NOT_A_DATABASE) => Ok(false),
            _ => Err(RestoreError::Present { path, cause: error.into() }),
        },
    }
}

/// The way that every SQLite file begins; an empty file would pass for a database without tables.
fn begins_as_a_database(file: &mut File) -> io::Result<bool> {
    let mut start = Vec::new();
    file.take(16).read_to_end(&mut start)?;
    Ok(start == b"SQLite format 3\0")
}

/// Copies a file for the owner of the folder alone, and waits until it is on disk.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    io::copy(&mut File::open(from)?, &mut target)?;
    give_to_owner_of_folder(&target, to)?;
    target.sync_all()
}

fn remove(path: &Path) -> Result<(), FolderError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(io_error(path)(error)),
        _ => Ok(()),
    }
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}
