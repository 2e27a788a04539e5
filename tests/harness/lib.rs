//! What the end-to-end tests and the demo share: the real binary, real Envoy and an upstream, started, watched and stopped.
//!
//! Nothing here waits a fixed time for something to have happened: [`until`] polls with a deadline. Nothing outlives its
//! owner: dropping a [`Process`] kills it, and the kernel does the same if the whole program is killed.

mod api;
mod authority;
mod cable;
mod cli;
mod clock;
mod connection;
mod control_plane;
mod disk;
mod envoy;
mod fake;
pub mod faults;
pub mod hostile;
mod load;
mod ports;
mod process;
mod scratch;
pub mod soak;
mod tester;
mod upstream;
mod venv;
mod wait;

pub use api::{Api, Done};
pub use authority::{Authority, Issued};
pub use cable::{Cable, Cut, Direction, Flow};
pub use cli::{Cli, Key};
pub use clock::Clock;
pub use connection::{Answer, Connection, Protocol, raw};
pub use control_plane::{ControlPlane, Serving};
pub use disk::Disk;
pub use envoy::{Config, EMBEDDED_FILTER, Envoy, OneUrl, OneUrlSample, TlsSample, demo_filter, one_url_rules};
pub use fake::{FakeControlPlane, FakeStream, FakeTable, Heard};
pub use load::{Ledger, Load, Tally, Verdict};
pub use ports::{free_port, loopback};
pub use process::Process;
pub use scratch::Scratch;
pub use tester::Tester;
pub use upstream::{Answers, Upstream};
pub use venv::Venv;
pub use wait::{DEADLINE, until};

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// The project's folder.
pub fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_owned()
}

/// The `keygate` binary: `KEYGATE_BIN`, or the one that cargo built beside the program that asks.
pub fn keygate_binary() -> Result<PathBuf> {
    let path = match std::env::var_os("KEYGATE_BIN") {
        Some(path) => path.into(),
        None => built_beside()?.join("keygate"),
    };
    existing(path, "the keygate binary")
}

/// The filter's module, where `make wasm` leaves it.
pub fn module() -> Result<PathBuf> {
    let path = built_beside()?.join("../wasm32-unknown-unknown/wasm/keygate_filter.wasm");
    existing(path, "the filter's module")?.canonicalize().context("finding the filter's module")
}

/// The module that traps on command, where `make test` leaves it.
pub fn traps_module() -> Result<PathBuf> {
    let path = built_beside()?.join("../wasm32-unknown-unknown/wasm/examples/traps.wasm");
    existing(path, "the module that traps on command")?.canonicalize().context("finding the module that traps on command")
}

/// The module of another layout, as a later version of the filter may have, where `envoy/module.sh other-layout` leaves it.
pub fn module_of_another_layout() -> Result<PathBuf> {
    let path = project().join("target/other-layout/wasm32-unknown-unknown/wasm/keygate_filter.wasm");
    existing(path, "the module of another layout")
}

/// Envoy: `ENVOY`, or the one that set-up brought.
pub fn envoy_binary() -> Result<PathBuf> {
    let path = match std::env::var_os("ENVOY") {
        Some(path) if !path.is_empty() => path.into(),
        _ => project().join(".tools/bin/envoy"),
    };
    existing(path, "Envoy")
}

/// Cargo's folder of this build, such as `target/debug`. Tests run one folder further down.
fn built_beside() -> Result<PathBuf> {
    let program = std::env::current_exe().context("finding this program's own path")?;
    let folder = program.parent().context("this program lies in no folder")?;
    let tests = folder.ends_with("deps");
    let build = if tests { folder.parent() } else { Some(folder) };
    Ok(build.context("this program lies in no folder")?.to_owned())
}

fn existing(path: PathBuf, what: &str) -> Result<PathBuf> {
    ensure!(path.exists(), "{what} is not at {}: `make test` and `make run` build and fetch what they need", path.display());
    Ok(path)
}
