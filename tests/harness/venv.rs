//! Programs written in Python that tests run: each set in a virtual environment of its own, pinned by hash, made once and kept in
//! target/ for the next run.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::project;

/// See the module.
#[derive(Clone, Debug)]
pub struct Venv(PathBuf);

impl Venv {
    /// The one with the packages of `requirements.txt` in a folder of the project. What builds those that come as source is in
    /// `build-requirements.txt` beside it, if there is one.
    ///
    /// # Errors
    /// When the packages cannot be brought: a test that needs them must fail then.
    pub async fn of(folder: &'static str) -> Result<Self> {
        tokio::task::spawn_blocking(move || make(&project().join(folder))).await?
    }

    /// A program in it.
    pub fn program(&self, name: &str) -> PathBuf {
        self.0.join("bin").join(name)
    }
}

fn make(requirements: &Path) -> Result<Venv> {
    let name = requirements.file_name().context("the requirements lie in no folder")?;
    let venv = project().join("target/venv").join(name);
    std::fs::create_dir_all(&venv)?;
    // Other tests, in this process or another one, wait for whoever makes it.
    let lock = File::create(venv.with_extension("lock"))?;
    lock.lock()?;
    let packages = requirements.join("requirements.txt");
    let build = requirements.join("build-requirements.txt");
    let version = run(Command::new("python3").arg("--version")).context("Python is missing: `make test` brings it")?;
    let mut wanted = format!("{version}{}", std::fs::read_to_string(&packages)?);
    if build.exists() {
        wanted += &std::fs::read_to_string(&build)?;
    }
    let made = venv.join("made-from");
    if std::fs::read_to_string(&made).is_ok_and(|found| found == wanted) {
        return Ok(Venv(venv));
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))
        .context("Python's venv module is missing: `make test` brings it")?;
    if build.exists() {
        install(&venv, &build)?;
    }
    install(&venv, &packages)?;
    std::fs::write(&made, wanted)?;
    Ok(Venv(venv))
}

fn install(venv: &Path, packages: &Path) -> Result<()> {
    let options = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-build-isolation", "--require-hashes"];
    let mut pip = Command::new(venv.join("bin/python"));
    pip.args(["-m", "pip", "install"]).args(options).arg("--requirement").arg(packages);
    run(&mut pip).map(|_| ()).with_context(|| {
        format!("the packages of {} cannot be installed: is the Python package index reachable?", packages.display())
    })
}

fn run(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("running {}", command.get_program().display()))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}
