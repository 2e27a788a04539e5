//! A wall clock that a test turns, for one program: its own wrong clock. The kernel can give a process another monotonic clock but no
//! other time of day, so a library that is loaded before the others answers for it (`tests/harness/clock.c`).

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::Scratch;

const SOURCE: &str = include_str!("clock.c");

/// See the module. The programs that [`Clock::environment`] is given to must not outlive it.
pub struct Clock {
    folder: Scratch,
}

impl Clock {
    /// A clock that is right.
    pub fn new() -> Result<Self> {
        let clock = Self { folder: Scratch::new("keygate-clock")? };
        let source = clock.path("clock.c");
        std::fs::write(&source, SOURCE)?;
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).args([clock.path("clock.so"), source]);
        let built = compiler.output().context("running the C compiler, which set-up brings")?;
        ensure!(built.status.success(), "clock.c: {}", String::from_utf8_lossy(&built.stderr));
        clock.shift_ms(0)?;
        Ok(clock)
    }

    /// What makes a program read this clock.
    pub fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        vec![("LD_PRELOAD", self.path("clock.so")), ("CLOCK_SHIFT", self.path("shift"))]
    }

    /// Sets how far it is ahead, at once.
    pub fn shift_ms(&self, shift: i64) -> Result<()> {
        let file = std::fs::File::options().create(true).truncate(false).write(true).open(self.path("shift"))?;
        Ok(file.write_all_at(&shift.to_ne_bytes(), 0)?)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}
