//! The load: wrk, on the core that is not measured, with as many connections as keep one worker of Envoy busy. In its turns each sends its
//! next request when the last one is answered, so that what is measured is what Envoy can do, and the times are those of a proxy at its
//! limit.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::loopback;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use crate::turns::Turns;

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

/// A load that is ready to send.
pub(crate) struct Sender {
    wrk: Child,
    said: BufReader<ChildStdout>,
    refused: bool,
}

/// What a load sent, and how it was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    pub(crate) requests: f64,
    pub(crate) per_second: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// How long after the end of a turn the last answer to it came, at most.
    pub(crate) late: Duration,
}

#[derive(Deserialize)]
struct Printed {
    requests: f64,
    answers: f64,
    /// The time in which any request was under way.
    busy_ms: f64,
    late_ms: f64,
    p50: f64,
    p99: f64,
    refused: f64,
    failed: f64,
}

impl Load {
    /// Gets ready to send requests to a port; `first` is the number of the first key. [`Sender::send`] must follow with the first turn.
    pub(crate) async fn prepare(&self, port: u16, first: usize, turns: &Turns) -> Result<Sender> {
        let (order, keys) = match &self.keys {
            None => ("none", Path::new("")),
            Some((keys, Order::Same)) => ("same", keys.as_path()),
            Some((keys, Order::Random)) => ("random", keys.as_path()),
            Some((keys, Order::Next)) => ("next", keys.as_path()),
        };
        // wrk counts whole seconds, from when it is told of the first turn.
        let seconds = (turns.whole() + Turns::NOTICE).as_secs() + 1;
        let millis = |time: Duration| time.as_millis().to_string();
        let mut wrk = Command::new("wrk")
            .args(["--threads", "1", "--connections", &CONNECTIONS.to_string(), "--duration", &format!("{seconds}s")])
            .args(["--timeout", "10s", "--script"])
            .arg(script())
            .args([&format!("http://{}/", loopback(port)), "--", &self.request, order])
            .arg(keys)
            .args([first.to_string(), millis(turns.length), millis(turns.period()), turns.count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("running wrk: envoy/setup.sh bench brings it")?;
        let mut said = BufReader::new(wrk.stdout.take().context("wrk's output")?);
        let mut line = String::new();
        said.read_line(&mut line).await?;
        if line.trim() != "ready" {
            let mut why = String::new();
            wrk.stderr.take().context("wrk's errors")?.read_to_string(&mut why).await?;
            anyhow::bail!("wrk said {line:?} {why}");
        }
        Ok(Sender { wrk, said, refused: self.refused })
    }
}

impl Sender {
    /// Sends in turns, of which the first comes so many milliseconds after 1970, and waits until the last is over. Fails if any request was
    /// answered as it should not be: that would measure something else.
    pub(crate) async fn send(mut self, first_turn_ms: u64) -> Result<Sent> {
        let mut stdin = self.wrk.stdin.take().context("wrk's input")?;
        stdin.write_all(format!("{first_turn_ms}\n").as_bytes()).await?;
        let mut text = String::new();
        self.said.read_to_string(&mut text).await?;
        let output = self.wrk.wait_with_output().await?;
        let line = text.lines().find(|line| line.starts_with('{'));
        let line = line.with_context(|| format!("wrk said {text} {}", String::from_utf8_lossy(&output.stderr)))?;
        let printed: Printed = serde_json::from_str(line).with_context(|| format!("reading {line}"))?;
        let expected = if self.refused { printed.requests } else { 0.0 };
        ensure!(printed.requests > 0.0 && printed.refused == expected, "{} of {} refused", printed.refused, printed.requests);
        ensure!(printed.failed == 0.0, "{} of {} requests failed", printed.failed, printed.requests);
        Ok(Sent {
            requests: printed.requests,
            per_second: printed.answers / printed.busy_ms * 1e3,
            p50_us: printed.p50,
            p99_us: printed.p99,
            late: Duration::try_from_secs_f64(printed.late_ms / 1e3)?,
        })
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/load.lua")
}
