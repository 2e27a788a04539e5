//! A control plane: `keygate serve` over a folder of data.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cli::issue_admin_key;
use crate::{Cli, Connection, Key, Process, Protocol, Scratch, free_port, keygate_binary, loopback, until};

/// A control plane and its data. It can be stopped, killed and started again, always on the same ports.
pub struct ControlPlane {
    data: PathBuf,
    log: PathBuf,
    http_port: u16,
    sync_port: u16,
    environment: Vec<(&'static str, PathBuf)>,
    process: Option<Process>,
    admin: Key,
    serving: Serving,
    _scratch: Option<Scratch>,
}

/// How a control plane is to serve.
#[derive(Clone, Debug, Default)]
pub struct Serving {
    /// Further options of `keygate serve`.
    pub options: Vec<String>,
    /// The certificate of whoever signed the API's, if the options make it HTTPS.
    pub http_ca: Option<PathBuf>,
    /// Proxies may come from anywhere, not from this machine alone.
    pub beyond_loopback: bool,
}

impl ControlPlane {
    /// A fresh one on free ports, initialized and ready, whose data goes with it.
    pub async fn start() -> Result<Self> {
        Self::start_serving(Serving::default()).await
    }

    /// The same, serving as it is told.
    pub async fn start_serving(serving: Serving) -> Result<Self> {
        let scratch = Scratch::new("keygate-control-plane")?;
        let data = scratch.path().join("data");
        let mut control_plane = Self {
            log: scratch.path().join("keygate.log"),
            http_port: free_port()?,
            sync_port: free_port()?,
            environment: Vec::new(),
            process: None,
            admin: Self::init(&data).await?,
            data,
            serving,
            _scratch: Some(scratch),
        };
        control_plane.serve().await?;
        Ok(control_plane)
    }

    /// One over data that is kept, on given ports; ready when it returns. `admin` is a key of an admin.
    pub async fn over(data: &Path, log: &Path, http_port: u16, sync_port: u16, admin: Key) -> Result<Self> {
        let mut control_plane = Self {
            data: data.to_owned(),
            log: log.to_owned(),
            http_port,
            sync_port,
            environment: Vec::new(),
            process: None,
            admin,
            serving: Serving::default(),
            _scratch: None,
        };
        control_plane.serve().await?;
        Ok(control_plane)
    }

    /// Makes fresh data and gives the admin's key.
    pub async fn init(data: &Path) -> Result<Key> {
        issue_admin_key(&["init", "--data", &data.to_string_lossy()]).await
    }

    /// A new key of the admin, for data whose admin's key was lost.
    pub async fn recover(data: &Path) -> Result<Key> {
        issue_admin_key(&["recover", "--data", &data.to_string_lossy()]).await
    }

    /// Starts it, after [`Self::stop`] or [`Self::kill`], and waits until it is ready.
    pub async fn serve(&mut self) -> Result<()> {
        let data = self.data.to_string_lossy();
        let (http, mut sync) = (loopback(self.http_port), loopback(self.sync_port));
        if self.serving.beyond_loopback {
            sync.set_ip(Ipv4Addr::UNSPECIFIED.into());
        }
        let (http, sync) = (http.to_string(), sync.to_string());
        let mut arguments = vec!["serve", "--data", &data, "--http", &http, "--sync", &sync];
        arguments.extend(self.serving.options.iter().map(String::as_str));
        let binary = keygate_binary()?;
        let mut process = Process::start_with("the control plane", &binary, &arguments, &self.environment, &self.log)?;
        until("the control plane to be ready", async || {
            process.ensure_running()?;
            let ready = match &self.serving.http_ca {
                None => is_ready(self.http_port).await,
                Some(_) => self.cli().run(&["key", "list"]).await?.status.success(),
            };
            Ok(ready.then_some(()))
        })
        .await?;
        self.process = Some(process);
        Ok(())
    }

    /// Variables in its environment from its next start on.
    pub fn set_environment(&mut self, environment: Vec<(&'static str, PathBuf)>) {
        self.environment = environment;
    }

    /// Asks it to end and waits until it has.
    pub async fn stop(&mut self) -> Result<()> {
        match self.process.take() {
            Some(process) => process.stop().await,
            None => Ok(()),
        }
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Its process.
    pub fn process(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("the control plane is stopped")
    }

    /// Commands to it by the admin.
    pub fn cli(&self) -> Cli {
        let cli = Cli::new(&self.url(), &self.admin);
        match &self.serving.http_ca {
            None => cli,
            Some(ca) => cli.trusting(ca),
        }
    }

    /// The admin's key.
    pub fn admin(&self) -> &Key {
        &self.admin
    }

    /// Where its API is.
    pub fn url(&self) -> String {
        let scheme = if self.serving.http_ca.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", loopback(self.http_port))
    }

    /// All that it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The port of its API.
    pub fn http_port(&self) -> u16 {
        self.http_port
    }

    /// The port on which proxies reach it.
    pub fn sync_port(&self) -> u16 {
        self.sync_port
    }

    /// The folder of its data.
    pub fn data(&self) -> &Path {
        &self.data
    }
}

/// Whether something on this port answers `/readyz` with 200.
async fn is_ready(port: u16) -> bool {
    let Ok(mut connection) = Connection::open(loopback(port), Protocol::Http1).await else {
        return false;
    };
    connection.get("/readyz", &[]).await.is_ok_and(|answer| answer.status == 200)
}
