//! `keygate serve`: wires storage, push and API together, and takes them down in order. It holds no logic of theirs.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::api::{self, App};
use crate::clock::Clock;
use crate::login::Gate;
use crate::operations::audit::Refusals;
use crate::push::Publisher;
use crate::random;
use crate::store::{DataFolder, Store, account, history};

/// Where to serve from and on which addresses.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeOptions {
    /// The data folder, made by `keygate init`
    #[arg(long, value_name = "DIR", env = "KEYGATE_DATA")]
    data: PathBuf,
    /// Where the API listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Where proxies connect; on loopback only
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081")]
    sync: SyncAddress,
    /// How log lines are written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

/// An address that only this machine reaches: whoever connects gets the table.
#[derive(Clone, Copy, Debug)]
struct SyncAddress(SocketAddr);

impl FromStr for SyncAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address: SocketAddr =
            text.parse().map_err(|_| "an address is an IP and a port, such as 127.0.0.1:8081".to_owned())?;
        if address.ip().is_loopback() {
            Ok(Self(address))
        } else {
            Err("the sync address must be on loopback (127.0.0.1 or [::1]): TLS is not there yet".to_owned())
        }
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// Serves until SIGINT or SIGTERM. An error ends the process with a failure, for a supervisor to start it again.
pub(crate) async fn serve(options: ServeOptions) -> anyhow::Result<()> {
    start_log(options.log_format);
    let folder = DataFolder::open(&options.data)?;
    let opened = Store::open(folder.database(), Clock::system()).await;
    let (store, mut writer) = opened.with_context(|| folder.database().display().to_string())?;
    let initialized = account::any(writer.connection().await?).await?;
    anyhow::ensure!(initialized, "{0} has no admin yet; run: keygate init --data {0}", options.data.display());

    let http = listen(options.http).await?;
    let sync = listen(options.sync.0).await?;
    let epoch = random::bytes()?;
    let start = history::begin_epoch(writer.connection().await?, epoch).await?;
    tracing::info!(revision = start.history.revision, keys = start.table.len(), "the table is compiled");
    let publisher = Publisher::new(epoch, start.history, start.table, store.proxy_register());
    let mut writer = {
        let publisher = publisher.clone();
        writer.spawn(move |revision, grants| publisher.publish(revision, grants))?
    };

    let stopping = signals().context("signals cannot be awaited")?;
    let sync_is_up = Arc::new(AtomicBool::new(true));
    let app = App {
        store: store.clone(),
        publisher: publisher.clone(),
        gate: Gate::new(),
        refusals: Refusals::default(),
        sync_is_up: sync_is_up.clone(),
    };
    tracing::info!(http = %http.local_addr()?, sync = %sync.local_addr()?, "serving");
    if !options.http.ip().is_loopback() {
        tracing::warn!("the API is plain HTTP: whoever is on the network between reads the keys and secrets it carries");
    }
    let api = async {
        api::serve(http, app, stop(stopping.clone())).await;
        Ok(())
    };
    let push = async {
        let served = publisher.serve(sync, stop(stopping.clone())).await;
        sync_is_up.store(false, Ordering::Release);
        served.context("proxies cannot be served any longer")
    };
    let outcome = tokio::select! {
        outcome = async { tokio::try_join!(api, push).map(|((), ())| ()) } => outcome,
        end = writer.ended() => {
            end?;
            bail!("the writer ended before the server was stopped");
        }
    };
    // What was answered is durable; what is still queued is made before the database closes.
    let closed = async {
        store.stop().await;
        writer.ended().await
    };
    timeout(CLOSING, closed).await.context("storage did not close in time; the next start repairs it")??;
    tracing::info!("stopped");
    outcome
}

/// So long storage may take for what is still queued when the server stops.
const CLOSING: Duration = Duration::from_secs(20);

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}; choose another address or stop what uses it"))
}

fn start_log(format: LogFormat) {
    let filter =
        tracing_subscriber::EnvFilter::try_from_env("KEYGATE_LOG").unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let colored = std::io::stderr().is_terminal();
    // Where standard error cannot be written, there is nobody to tell; a log that tried to would end the process.
    let log = tracing_subscriber::fmt()
        .log_internal_errors(false)
        .with_env_filter(filter)
        .with_ansi(colored)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

/// Turns true at the first SIGINT or SIGTERM. The second one ends the process at once.
fn signals() -> std::io::Result<watch::Receiver<bool>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        next().await;
        tracing::info!("stopping; a second signal ends the process at once");
        sender.send_replace(true);
        next().await;
        std::process::exit(1);
    });
    Ok(receiver)
}

async fn stop(mut stopping: watch::Receiver<bool>) {
    // An error means that nobody can send any more, which only happens on the way out.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_connect_from_this_machine_only() {
        for address in ["127.0.0.1:8081", "127.1.2.3:1", "[::1]:8081"] {
            assert!(SyncAddress::from_str(address).is_ok(), "{address}");
        }
        for address in ["0.0.0.0:8081", "[::]:8081", "10.0.0.1:8081"] {
            assert!(SyncAddress::from_str(address).is_err_and(|why| why.contains("TLS")), "{address}");
        }
        assert!(SyncAddress::from_str("8081").is_err());
    }
}
