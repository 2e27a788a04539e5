//! `make run`: a control plane, real Envoy with the filter and an upstream, on this machine, until Ctrl-C.
//!
//! Its data stays in var/demo and its keys in var/demo.env, so that the next run finds them again; `make clean-demo` forgets
//! both. It says "ready" only after it has tried every request that it prints.

mod cast;
mod examples;
mod notes;
mod one_url;

use std::net::TcpListener;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use harness::{Config, ControlPlane, Envoy, Key, Upstream, keygate_binary, loopback, project};
use tokio::signal::unix::{SignalKind, signal};

use crate::cast::Cast;
use crate::notes::Notes;

const WATCH_INTERVAL: Duration = Duration::from_millis(200);

#[tokio::main]
async fn main() -> ExitCode {
    match demo().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn demo() -> Result<()> {
    let mut running = tokio::select! {
        started = Running::start() => started?,
        result = interrupted() => return result,
    };
    let result = tokio::select! {
        result = running.watch() => result,
        result = interrupted() => result,
    };
    let stopped = running.stop().await;
    println!("stopped");
    result.and(stopped)
}

/// Comes back on Ctrl-C, when told to end, and when the terminal is gone.
async fn interrupted() -> Result<()> {
    let (mut terminate, mut hangup) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    tokio::select! {
        result = tokio::signal::ctrl_c() => result?,
        _ = terminate.recv() => (),
        _ = hangup.recv() => (),
    }
    Ok(())
}

struct Ports {
    edge: u16,
    admin: u16,
    http: u16,
    sync: u16,
}

impl Ports {
    /// The ports that the environment names, all free.
    fn from_environment() -> Result<Self> {
        let mut taken = Vec::new();
        let mut port = |variable: &str, default: u16| {
            let port = match std::env::var(variable) {
                Ok(text) => text.parse().with_context(|| format!("{variable}={text} is not a port"))?,
                Err(_) => default,
            };
            match TcpListener::bind(loopback(port)) {
                // Held until all four are known, so that two that are equal are found as well.
                Ok(listener) => taken.push(listener),
                Err(error) => bail!("port {port}: {error}; choose another one with `make run {variable}=...`"),
            }
            Ok(port)
        };
        Ok(Self {
            edge: port("EDGE_PORT", 10000)?,
            admin: port("ADMIN_PORT", 9901)?,
            http: port("HTTP_PORT", 8080)?,
            sync: port("SYNC_PORT", 8081)?,
        })
    }
}

struct Running {
    control_plane: ControlPlane,
    envoy: Envoy,
    _upstream: Upstream,
}

impl Running {
    async fn start() -> Result<Self> {
        let ports = Ports::from_environment()?;
        let folder = project().join("var/demo");
        let data = folder.join("data");
        std::fs::create_dir_all(&folder)?;
        let mut notes = Notes::load(&project().join("var/demo.env"))?;

        let admin = admin_key(&data, &mut notes).await?;
        let control_plane = ControlPlane::over(&data, &folder.join("keygate.log"), ports.http, ports.sync, admin).await?;
        let edge_url = format!("http://{}", loopback(ports.edge));
        notes.set("EDGE_URL", &edge_url);
        notes.set("KEYGATE_URL", &control_plane.url());
        notes.set("KEYGATE_BIN", &keygate_binary()?.to_string_lossy());
        let cast = Cast::find_or_make(&control_plane.cli(), &mut notes)
            .await
            .context("`make clean-demo` makes the next run begin anew")?;
        notes.save()?;

        let upstream = Upstream::start()?;
        let mut config = Config::new(upstream.port(), ports.sync)?;
        config.edge_port = ports.edge;
        config.admin_port = ports.admin;
        one_url::add_to(&mut config, ports.http)?;
        let envoy = Envoy::start_in(&folder, &config).await?;
        let why = "Envoy gets no table: see var/demo for why, or begin anew with `make clean-demo`";
        envoy.until_table().await.context(why)?;

        examples::try_all(&cast, envoy.edge()).await?;
        examples::print(&cast, &edge_url, notes.path());
        Ok(Self { control_plane, envoy, _upstream: upstream })
    }

    /// Comes back when one of the programs has ended by itself, and says which.
    async fn watch(&mut self) -> Result<()> {
        loop {
            self.envoy.process().ensure_running()?;
            self.control_plane.process()?.ensure_running()?;
            tokio::time::sleep(WATCH_INTERVAL).await;
        }
    }

    async fn stop(mut self) -> Result<()> {
        // The second is stopped even if the first was gone.
        let envoy = self.envoy.stop().await;
        self.control_plane.stop().await.and(envoy)
    }
}

/// The admin's key: noted by a former run, or issued for fresh data, or issued anew for data whose key was forgotten.
async fn admin_key(data: &Path, notes: &mut Notes) -> Result<Key> {
    let key = if !data.exists() {
        notes.forget_all();
        ControlPlane::init(data).await?
    } else if let Some(key) = notes.key("KEYGATE") {
        return Ok(key);
    } else {
        ControlPlane::recover(data).await?
    };
    notes.set_key("KEYGATE", &key);
    notes.save()?;
    Ok(key)
}
