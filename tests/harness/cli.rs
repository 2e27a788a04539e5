//! The command line as a person uses it: the real binary, told where to go and who is asking by its environment.

use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::process::Command;

use crate::keygate_binary;

/// A key as its creation shows it, the only time that its secret is seen.
#[derive(Clone)]
pub struct Key {
    /// What commands call it.
    pub id: String,
    /// The public half.
    pub access_key: String,
    /// The secret half.
    pub secret_key: String,
    /// Both halves as one string.
    pub token: String,
}

impl Key {
    /// Reads what `init`, `recover` and `key create` print as JSON.
    pub fn from_json(created: &Value) -> Result<Self> {
        let text = |name: &str| match created.get(name) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(Value::Number(number)) => Ok(number.to_string()),
            _ => bail!("a created key without {name}"),
        };
        Ok(Self { id: text("id")?, access_key: text("accessKey")?, secret_key: text("secretKey")?, token: text("token")? })
    }

    /// The header of HTTP Basic: access key and secret as user and password.
    pub fn basic(&self) -> (&'static str, String) {
        let pair = STANDARD.encode(self.pair());
        ("authorization", format!("Basic {pair}"))
    }

    /// The header of a Bearer token.
    pub fn bearer(&self) -> (&'static str, String) {
        ("authorization", format!("Bearer {}", self.token))
    }

    /// The `X-API-Key` header.
    pub fn x_api_key(&self) -> (&'static str, String) {
        ("x-api-key", self.token.clone())
    }

    /// `access:secret`, what curl's `-u` takes.
    pub fn pair(&self) -> String {
        format!("{}:{}", self.access_key, self.secret_key)
    }
}

/// Runs `keygate` commands against one control plane in the name of one key.
#[derive(Clone)]
pub struct Cli {
    url: String,
    ca: PathBuf,
    key: Key,
}

impl Cli {
    /// Commands to the control plane at `url` by the holder of `key`.
    pub fn new(url: &str, key: &Key) -> Self {
        Self { url: url.to_owned(), ca: PathBuf::new(), key: key.clone() }
    }

    /// The same control plane, asked by somebody else.
    pub fn with_key(&self, key: &Key) -> Self {
        Self { key: key.clone(), ..self.clone() }
    }

    /// The same, trusting whoever signs with this certificate.
    pub fn trusting(&self, ca: &Path) -> Self {
        Self { ca: ca.to_owned(), ..self.clone() }
    }

    /// Runs a command, whatever comes of it: for those that are expected to fail.
    pub async fn run(&self, arguments: &[&str]) -> Result<Output> {
        let mut command = Command::new(keygate_binary()?);
        command
            .args(arguments)
            .env("KEYGATE_URL", &self.url)
            .env("KEYGATE_CA", &self.ca)
            .env("KEYGATE_ACCESS_KEY", &self.key.access_key)
            .env("KEYGATE_SECRET_KEY", &self.key.secret_key)
            .kill_on_drop(true);
        command.output().await.context("running keygate")
    }

    /// Runs a command that must succeed, and gives what it printed.
    pub async fn text(&self, arguments: &[&str]) -> Result<String> {
        printed(arguments, self.run(arguments).await?)
    }

    /// Runs a command that must succeed with `--output json`, and gives what it printed.
    pub async fn json(&self, arguments: &[&str]) -> Result<Value> {
        let arguments = [arguments, &["--output", "json"]].concat();
        let text = self.text(&arguments).await?;
        serde_json::from_str(&text).with_context(|| format!("reading the JSON of keygate {}", arguments.join(" ")))
    }

    /// Runs `key create` with these further arguments.
    pub async fn create_key(&self, arguments: &[&str]) -> Result<Key> {
        let created = self.json(&[&["key", "create"], arguments].concat()).await?;
        Key::from_json(&created)
    }
}

/// Runs a command that needs no control plane, such as `init`, and gives the key that it printed.
pub(crate) async fn issue_admin_key(arguments: &[&str]) -> Result<Key> {
    let arguments = [arguments, &["--output", "json"]].concat();
    let output = Command::new(keygate_binary()?).args(&arguments).output().await.context("running keygate")?;
    let text = printed(&arguments, output)?;
    Key::from_json(&serde_json::from_str(&text)?)
}

fn printed(arguments: &[&str], output: Output) -> Result<String> {
    if !output.status.success() {
        bail!("keygate {} failed ({}): {}", arguments.join(" "), output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}
