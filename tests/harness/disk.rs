//! A small disk of its own that can be filled to its last byte: a tmpfs in a mount namespace that nobody else sees. Where neither root nor
//! an unprivileged user may make one, the tests that need it cannot run, and fail.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tokio::process::Command;

use crate::{Process, until};

/// A disk, gone when dropped with all that is on it.
pub struct Disk {
    /// Does nothing but hold the namespace.
    holder: Process,
    mounted: PathBuf,
}

impl Disk {
    /// Makes one of so many bytes where there is an empty folder, for programs that are [`Self::command`]s.
    pub async fn mount(folder: &Path, bytes: u64) -> Result<Self> {
        let mounted = folder.canonicalize()?;
        let (path, options) = (mounted.to_string_lossy().into_owned(), format!("size={bytes}"));
        let script = "mount -t tmpfs -o \"$1\" keygate \"$0\" && exec sleep infinity";
        let arguments = ["--map-root-user", "--mount", "sh", "-c", script, &path, &options];
        let log = folder.with_extension("disk.log");
        let mut disk = Self { holder: Process::start("a small disk", Path::new("unshare"), &arguments, &log)?, mounted };
        until("a small disk to be mounted", async || {
            disk.holder.ensure_running().context("a tmpfs in a namespace of its own is needed")?;
            let mounts = fs::read_to_string(format!("/proc/{}/mounts", disk.holder.id())).unwrap_or_default();
            Ok(mounts.contains(&format!("keygate {path} tmpfs")).then_some(()))
        })
        .await?;
        Ok(disk)
    }

    /// What comes before a program and its arguments so that it sees the disk.
    pub fn enter(&self) -> Vec<String> {
        let target = self.holder.id().to_string();
        ["nsenter", "--target", &target, "--user", "--mount", "--preserve-credentials", "--"].map(str::to_owned).into()
    }

    /// A program that sees the disk.
    pub fn command(&self, program: &Path) -> Command {
        let enter = self.enter();
        let mut command = Command::new("nsenter");
        command.args(enter.iter().skip(1)).arg(program).kill_on_drop(true);
        command
    }

    /// Where a file on the disk is for those who do not see it.
    pub fn outside(&self, name: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.mounted.strip_prefix("/").unwrap_or(&self.mounted)).join(name)
    }

    /// Fills it to the last byte, also if it was filled before and something has gone since.
    pub fn fill(&self) -> Result<()> {
        let mut file = File::options().create(true).append(true).open(self.outside(FILLER))?;
        for chunk in [vec![0; 4096], vec![0; 1]] {
            loop {
                match file.write_all(&chunk) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error).context("filling a disk"),
                }
            }
        }
        Ok(())
    }

    /// Makes room again.
    pub fn free(&self) -> Result<()> {
        fs::remove_file(self.outside(FILLER)).context("making room on a disk")
    }
}

const FILLER: &str = "filler";
