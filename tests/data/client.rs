//! A client of the API that tells what is certain from what is not: what got no answer may have been done or not.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Answer, Api, Connection, ControlPlane, DEADLINE, Key, Protocol};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::edge::{Edge, INSIDE};

/// See the module. What it asks, it asks once.
pub(crate) struct Client(Api);

impl Client {
    /// A client with this key of the API on a port.
    pub(crate) fn new(port: u16, key: &Key) -> Self {
        Self(Api::at(port, key))
    }

    /// The admin's client.
    pub(crate) fn admin(control_plane: &ControlPlane) -> Self {
        Self(Api::of(control_plane))
    }

    /// Asks for something; an error means that no answer came, so that it may have been done or not.
    pub(crate) async fn ask(&mut self, method: &str, path: &str, body: Option<Value>) -> Result<Answer> {
        self.0.ask_once(method, path, &body.unwrap_or_default()).await
    }

    /// Makes a key of the environment `1a5`; none if that was refused with 503.
    pub(crate) async fn create_key(&mut self, name: &str) -> Result<Option<Key>> {
        let answer = self.ask("POST", "/keygate/v1/keys", Some(json!({"environment": "1a5", "name": name}))).await?;
        match answer.status {
            201 => Ok(Some(Key::from_json(&answer.json()?)?)),
            503 => Ok(None),
            status => anyhow::bail!("making a key answered {status}: {}", answer.text()),
        }
    }

    /// Every key: name, id and state.
    pub(crate) async fn keys(&mut self) -> Result<Vec<(String, String, String)>> {
        let answer = self.ask("GET", "/keygate/v1/keys", None).await?;
        ensure!(answer.status == 200, "listing keys answered {}", answer.status);
        let list = answer.json()?;
        let text = |key: &Value, field: &str| anyhow::Ok(key[field].as_str().context("a key without it")?.to_owned());
        list["data"]
            .as_array()
            .context("no list")?
            .iter()
            .map(|key| Ok((text(key, "name")?, text(key, "id")?, text(key, "state")?)))
            .collect()
    }

    /// Waits until `/readyz` has this status. What gets no answer is asked again.
    pub(crate) async fn until_ready(&mut self, status: u16) -> Result<()> {
        let ready = async {
            while !self.ask("GET", "/readyz", None).await.is_ok_and(|answer| answer.status == status) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(DEADLINE, ready).await.with_context(|| format!("/readyz did not answer {status}"))
    }
}

/// The status that a key gets at the edge.
pub(crate) async fn status(connection: &mut Connection, key: &Key) -> Result<u16> {
    Ok(connection.get(INSIDE, &[("x-api-key", &key.token)]).await?.status)
}

/// Every worker answers a key with this status, again and again.
pub(crate) async fn expect(edge: &Edge, what: &str, key: &Key, expected: u16) -> Result<()> {
    for mut worker in edge.envoys[0].connections_on_every_worker(Protocol::Http2).await? {
        for _ in 0..50 {
            let found = status(&mut worker, key).await?;
            ensure!(found == expected, "{what}: {found} instead of {expected}");
        }
    }
    Ok(())
}

/// Requests with a key that passes all the time, on every worker.
pub(crate) struct Traffic {
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<usize>>,
}

impl Traffic {
    /// Begins.
    pub(crate) async fn start(edge: &Edge, key: &Key) -> Result<Self> {
        let (stop, stopped) = watch::channel(false);
        let mut workers = edge.envoys[0].connections_on_every_worker(Protocol::Http1).await?;
        let key = key.clone();
        let task = tokio::spawn(async move {
            let mut passed = 0;
            while !*stopped.borrow() {
                for worker in &mut workers {
                    let found = status(worker, &key).await?;
                    ensure!(found == 200, "a key that may pass got {found}");
                    passed += 1;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Ok(passed)
        });
        Ok(Self { stop, task })
    }

    /// Ends; fails if anything did not pass.
    pub(crate) async fn stop(self) -> Result<()> {
        self.stop.send_replace(true);
        ensure!(self.task.await?? > 0, "there was no traffic");
        Ok(())
    }
}
