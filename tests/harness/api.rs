//! The control plane's API, asked directly: for changes by the thousand, where a program for each would take too long.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{Answer, Connection, ControlPlane, Key, Protocol, loopback};

/// A client that keeps its connection, and opens another one when that has ended.
pub struct Api {
    address: SocketAddr,
    authorization: String,
    connection: Option<Connection>,
}

/// What came of a change that was to be waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// Every proxy has it in force.
    Everywhere,
    /// It is made, and these proxies have not acknowledged it.
    Missing(String),
}

impl Api {
    /// The API of a control plane, in the name of its admin.
    pub fn of(control_plane: &ControlPlane) -> Self {
        Self::at(control_plane.http_port(), control_plane.admin())
    }

    /// The API on a port, in the name of whoever has this key.
    pub fn at(port: u16, key: &Key) -> Self {
        Self { address: loopback(port), authorization: key.basic().1, connection: None }
    }

    /// A key of an environment.
    pub async fn create_key(&mut self, environment: &str, name: &str, wait_seconds: u64) -> Result<(Key, Done)> {
        let body = json!({"environment": environment, "name": name});
        let (answer, done) = self.change("POST", "/keys", wait_seconds, &body).await?;
        Ok((Key::from_json(&answer.json()?)?, done))
    }

    /// `activate` or `deactivate` a key.
    pub async fn key_action(&mut self, key: &Key, action: &str, wait_seconds: u64) -> Result<Done> {
        Ok(self.change("POST", &format!("/keys/{}/{action}", key.id), wait_seconds, &Value::Null).await?.1)
    }

    /// Deletes a key, which must be inactive.
    pub async fn delete_key(&mut self, key: &Key, wait_seconds: u64) -> Result<Done> {
        Ok(self.change("DELETE", &format!("/keys/{}", key.id), wait_seconds, &Value::Null).await?.1)
    }

    /// The state of every key that storage knows, by access key: ids are given again when older data is put back.
    pub async fn key_states(&mut self) -> Result<BTreeMap<String, String>> {
        let keys = self.ask("GET", "/keys", &Value::Null).await?.json()?;
        let keys = keys.get("data").and_then(Value::as_array).context("no list of keys")?;
        let text = |key: &Value, field: &str| {
            Ok::<_, anyhow::Error>(key.get(field).and_then(Value::as_str).context("a key without it")?.to_owned())
        };
        keys.iter().map(|key| Ok((text(key, "accessKey")?, text(key, "state")?))).collect()
    }

    async fn change(&mut self, method: &str, path: &str, wait_seconds: u64, body: &Value) -> Result<(Answer, Done)> {
        let answer = self.ask(method, &format!("{path}?wait={wait_seconds}"), body).await?;
        let missing = answer.header("keygate-missing").context("a change that does not say who lacks it")?;
        let done = if missing.is_empty() { Done::Everywhere } else { Done::Missing(missing.to_owned()) };
        Ok((answer, done))
    }

    /// Asks, and fails unless the answer is a success.
    pub async fn ask(&mut self, method: &str, path: &str, body: &Value) -> Result<Answer> {
        let answer = self.ask_once(method, &format!("/keygate/v1{path}"), body).await?;
        ensure!((200..300).contains(&answer.status), "{method} {path} answered {}: {}", answer.status, answer.text());
        Ok(answer)
    }

    /// Asks for any path of the port, once. An error means that no answer came, so that what was asked may have been done or not.
    pub async fn ask_once(&mut self, method: &str, path: &str, body: &Value) -> Result<Answer> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::open(self.address, Protocol::Http1).await?,
        };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = [("authorization", self.authorization.as_str()), ("content-type", "application/json")];
        let headers = if body.is_empty() { headers.get(..1) } else { Some(headers.as_slice()) };
        let answer = connection.send(method, path, headers.unwrap_or_default(), &body).await?;
        self.connection = Some(connection);
        Ok(answer)
    }
}
