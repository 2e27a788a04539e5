//! How many files `serve` may have open.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use harness::{ControlPlane, Process, Scratch, free_port, keygate_binary, loopback, until};

#[tokio::test(flavor = "multi_thread")]
async fn serve_takes_as_many_open_files_as_it_is_allowed() -> Result<()> {
    let scratch = Scratch::new("keygate-files")?;
    let data = scratch.path().join("data");
    ControlPlane::init(&data).await?;
    let [http, sync] = [loopback(free_port()?).to_string(), loopback(free_port()?).to_string()];
    let (binary, data) = (keygate_binary()?, data.to_string_lossy().into_owned());
    // The usual beginning, and one that is soon used up: a low limit that may be raised.
    let arguments = ["--nofile=256:", &binary.to_string_lossy(), "serve", "--data", &data, "--http", &http, "--sync", &sync];
    let log = scratch.path().join("keygate.log");
    let mut process = Process::start("the control plane", Path::new("prlimit"), &arguments, &log)?;
    until("the control plane to serve", async || {
        process.ensure_running()?;
        Ok(std::fs::read_to_string(&log)?.contains("serving").then_some(()))
    })
    .await?;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.id()))?;
    let files = limits.lines().find(|line| line.starts_with("Max open files")).context("no limit of open files")?;
    let [soft, hard] = [3, 4].map(|column| files.split_whitespace().nth(column).unwrap_or_default());
    ensure!(soft == hard, "{files}");
    process.stop().await
}
