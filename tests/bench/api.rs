//! The control plane's API, asked on connections that stay open, in the name of its admin.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::{Answer, Connection, ControlPlane, Protocol, loopback};
use serde_json::Value;

use crate::data;

/// How long a change may take to be acknowledged by every proxy.
const WAIT_SECONDS: u64 = 60;

/// One connection.
pub(crate) struct Api {
    connection: Connection,
    authorization: String,
}

/// When a change was sent, and when it was answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    pub(crate) sent: Instant,
    pub(crate) answered: Instant,
}

impl Change {
    /// From sent to answered.
    pub(crate) fn took(&self) -> Duration {
        self.answered - self.sent
    }
}

impl Api {
    /// Opens one.
    pub(crate) async fn open(control_plane: &ControlPlane) -> Result<Self> {
        let connection = Connection::open(loopback(control_plane.http_port()), Protocol::Http1).await?;
        Ok(Self { connection, authorization: control_plane.admin().basic().1 })
    }

    /// Makes a key for an account. With `wait`, the answer comes when all proxies have it.
    pub(crate) async fn create_key(&mut self, account: usize, wait: bool) -> Result<(Change, u64)> {
        let body = serde_json::json!({ "account": data::account_name(account), "name": "benchmark" }).to_string();
        let (change, answer) = self.post("/keygate/v1/keys", &body, wait).await?;
        let id = answer.json()?.get("id").and_then(Value::as_str).and_then(|id| id.parse().ok());
        Ok((change, id.context("a created key without an id")?))
    }

    /// Switches a key off.
    pub(crate) async fn deactivate_key(&mut self, id: u64, wait: bool) -> Result<Change> {
        Ok(self.post(&format!("/keygate/v1/keys/{id}/deactivate"), "", wait).await?.0)
    }

    /// Switches an account on or off.
    pub(crate) async fn switch_account(&mut self, account: usize, on: bool, wait: bool) -> Result<Change> {
        let action = if on { "activate" } else { "deactivate" };
        let path = format!("/keygate/v1/accounts/{}/{action}", data::account_name(account));
        Ok(self.post(&path, "", wait).await?.0)
    }

    /// How many changes were committed so far, and in how many transactions.
    pub(crate) async fn commits(&mut self) -> Result<(f64, f64)> {
        let headers = [("authorization", self.authorization.as_str())];
        let answer = self.connection.send("GET", "/metrics", &headers, "").await?;
        let metrics = answer.text();
        let of = |name: &str| {
            let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
            value.with_context(|| format!("the metrics do not say {name}"))
        };
        Ok((of("keygate_changes_total ")?, of("keygate_commit_duration_seconds_count ")?))
    }

    async fn post(&mut self, path: &str, body: &str, wait: bool) -> Result<(Change, Answer)> {
        let path = if wait { format!("{path}?wait={WAIT_SECONDS}") } else { path.to_owned() };
        let kind = ("content-type", "application/json");
        let headers = [("authorization", self.authorization.as_str()), kind];
        let headers = if body.is_empty() { headers.get(..1).unwrap_or_default() } else { &headers };
        let sent = Instant::now();
        let answer = self.connection.send("POST", &path, headers, body).await?;
        let change = Change { sent, answered: Instant::now() };
        ensure!(matches!(answer.status, 200 | 201), "POST {path} answered {} {}", answer.status, answer.text());
        let missing = answer.header("keygate-missing").unwrap_or_default();
        ensure!(missing.is_empty(), "POST {path} was not acknowledged by {missing}");
        Ok((change, answer))
    }
}
