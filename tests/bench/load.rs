//! The load: wrk, on a core of its own, with as many connections as keep one worker of Envoy busy. Each sends its next request when the
//! last one is answered, so that what is measured is what Envoy can do, and the times are those of a proxy at its limit.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use harness::{loopback, project};
use serde::Deserialize;
use tokio::process::Command;

use crate::machine;

const CONNECTIONS: usize = 16;

/// One request, and which keys it carries.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    /// The whole request; `@KEY@` stands for the key.
    pub(crate) request: String,
    /// A file of keys, and in which order they are taken. A request without a key needs none.
    pub(crate) keys: Option<(PathBuf, Order)>,
    /// Every request is to be refused; otherwise every one is to pass.
    pub(crate) refused: bool,
}

/// Which key comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Always the first.
    Same,
    /// Any.
    Random,
    /// Each once.
    Next,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) requests: f64,
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// What the measured process used for one request.
    pub(crate) cpu_us: f64,
    /// What a process beside it used for one request; zero without one.
    pub(crate) other_cpu_us: f64,
}

#[derive(Deserialize)]
struct Printed {
    requests: f64,
    microseconds: f64,
    p50: f64,
    p99: f64,
    refused: f64,
    failed: f64,
}

impl Load {
    /// Sends requests to a port for some seconds; `first` is the number of the first key. `process` is the one that is measured, `other`
    /// one that works for it. Fails if any request was answered as it should not be: that would measure something else.
    pub(crate) async fn run(&self, port: u16, seconds: u64, first: usize, process: u32, other: Option<u32>) -> Result<Outcome> {
        let folder = project().join("var/bench");
        let request = folder.join("request");
        fs::write(&request, &self.request)?;
        let (order, keys) = match &self.keys {
            None => ("none", PathBuf::new()),
            Some((keys, Order::Same)) => ("same", keys.clone()),
            Some((keys, Order::Random)) => ("random", keys.clone()),
            Some((keys, Order::Next)) => ("next", keys.clone()),
        };
        let used =
            || -> Result<(f64, f64)> { Ok((machine::cpu_seconds(process)?, other.map_or(Ok(0.0), machine::cpu_seconds)?)) };
        let before = used()?;
        let output = Command::new("wrk")
            .args(["--threads", "1", "--connections", &CONNECTIONS.to_string(), "--duration", &format!("{seconds}s")])
            .args(["--timeout", "10s", "--script"])
            .arg(script())
            .arg(format!("http://{}/", loopback(port)))
            .arg("--")
            .args([request.as_os_str(), order.as_ref(), keys.as_os_str(), first.to_string().as_ref()])
            .output()
            .await
            .context("running wrk: envoy/setup.sh bench brings it")?;
        let after = used()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().find(|line| line.starts_with('{'));
        let line = line.with_context(|| format!("wrk said {text} {}", String::from_utf8_lossy(&output.stderr)))?;
        let printed: Printed = serde_json::from_str(line).with_context(|| format!("reading {line}"))?;
        let expected = if self.refused { printed.requests } else { 0.0 };
        ensure!(printed.requests > 0.0 && printed.refused == expected, "{} of {} refused", printed.refused, printed.requests);
        ensure!(printed.failed == 0.0, "{} of {} requests failed", printed.failed, printed.requests);
        let each = |after: f64, before: f64| (after - before) * 1e6 / printed.requests;
        Ok(Outcome {
            requests: printed.requests,
            per_second: printed.requests / printed.microseconds * 1e6,
            p50_us: printed.p50,
            p99_us: printed.p99,
            cpu_us: each(after.0, before.0),
            other_cpu_us: each(after.1, before.1),
        })
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/load.lua")
}
