//! `keygate serve`: wires storage, push and API together, and takes them down in order. It holds no logic of theirs.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::api::{self, App};
use crate::clock::Clock;
use crate::log::{self, LogFilter, LogFormat};
use crate::login::Gate;
use crate::metrics::Metrics;
use crate::operations::audit::Refusals;
use crate::operations::logins;
use crate::push::{Proof, Publisher};
use crate::random;
use crate::setting;
use crate::store::{DataFolder, Store, account, history};
use crate::tls::{Certificates, Files, Incoming};

/// Where to serve from and on which addresses.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeOptions {
    /// The data folder, made by `keygate init`
    #[arg(long, value_name = "DIR", env = "KEYGATE_DATA")]
    data: PathBuf,
    /// Where the API listens
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = parse_address)]
    http: SocketAddr,
    /// The API's certificate chain, as PEM: the API is HTTPS then. Read again when it changes
    #[arg(long, value_name = "FILE", requires = "http_key")]
    http_cert: Option<PathBuf>,
    /// The private key of that certificate
    #[arg(long, value_name = "FILE", requires = "http_cert")]
    http_key: Option<PathBuf>,
    /// Where proxies connect; beyond loopback with TLS only
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8081", value_parser = parse_address)]
    sync: SocketAddr,
    /// The certificate chain that proxies are shown, as PEM. Read again when it changes
    #[arg(long, value_name = "FILE", requires = "sync_key")]
    sync_cert: Option<PathBuf>,
    /// The private key of that certificate
    #[arg(long, value_name = "FILE", requires = "sync_cert")]
    sync_key: Option<PathBuf>,
    /// Who signs the certificates that proxies must present, as PEM; one is a proxy's if a DNS name in it is the proxy's name
    #[arg(long, value_name = "FILE", requires = "sync_cert")]
    sync_client_ca: Option<PathBuf>,
    /// Where metrics are shown without a credential, beside /healthz and /readyz; without it only at the API, to admins
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    metrics: Option<SocketAddr>,
    /// So many days audit records are kept
    #[arg(long, value_name = "N", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=36500))]
    audit_days: u32,
    /// What is logged: error, warn, info, debug or trace, or more of some modules, such as info,keygate::push=debug
    #[arg(long, value_name = "LEVEL", env = "KEYGATE_LOG", default_value = log::USUAL)]
    log: LogFilter,
    /// How log lines are written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
}

impl ServeOptions {
    fn http_files(&self) -> Option<Files> {
        let (cert, key) = (self.http_cert.clone()?, self.http_key.clone()?);
        Some(Files { cert: ("--http-cert", cert), key: ("--http-key", key), client_ca: None, protocol: "http/1.1" })
    }

    fn sync_files(&self) -> Option<Files> {
        let (cert, key) = (self.sync_cert.clone()?, self.sync_key.clone()?);
        let client_ca = self.sync_client_ca.clone().map(|path| ("--sync-client-ca", path));
        Some(Files { cert: ("--sync-cert", cert), key: ("--sync-key", key), client_ca, protocol: "h2" })
    }

    /// What a proxy must show. The table goes to whoever connects, so that beyond this machine nobody may read along, nor connect
    /// unknown.
    fn proof(&self) -> anyhow::Result<Proof> {
        match (self.sync.ip().is_loopback(), &self.sync_cert, &self.sync_client_ca) {
            (true, _, None) => Ok(Proof::Optional),
            (true, _, Some(_)) | (false, Some(_), _) => Ok(Proof::Required),
            (false, None, _) => bail!(
                "--sync {} is beyond loopback, where proxies are served with TLS only: \
                 give --sync-cert and --sync-key, or listen on 127.0.0.1",
                self.sync
            ),
        }
    }
}

fn parse_address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "must be an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080")
}

/// Serves until SIGINT or SIGTERM. An error ends the process with a failure, for a supervisor to start it again.
pub(crate) async fn serve(options: ServeOptions) -> anyhow::Result<()> {
    log::start(options.log_format, options.log.clone());
    ignore_hangups().context("signals cannot be awaited")?;
    open_as_many_files_as_allowed();
    let proof = options.proof()?;
    setting::check_environment().map_err(anyhow::Error::msg)?;
    let http_certificates = watch_files(options.http_files()).await?;
    let sync_certificates = watch_files(options.sync_files()).await?;
    let folder = DataFolder::open(&options.data)?;
    let opened = Store::open(folder.database(), Clock::system()).await;
    let (store, mut writer) = opened.with_context(|| folder.database().display().to_string())?;
    let initialized = account::any(writer.connection().await?).await?;
    anyhow::ensure!(initialized, "{0} has no admin yet; run: keygate init --data {0}", options.data.display());

    let http = listen(options.http).await?;
    let sync = listen(options.sync).await?;
    let watched = match options.metrics {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    let epoch = random::bytes()?;
    let start = history::begin_epoch(writer.connection().await?, epoch).await?;
    tracing::info!(revision = start.history.revision, keys = start.table.len(), "the table is compiled");
    let publisher =
        Publisher::new(epoch, start.history, start.table, store.proxy_register(), store.token_lookup(), store.usage_sink());
    writer.trim(options.audit_days);
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
        metrics: Metrics::new(&store, &publisher),
    };
    tracing::info!(http = %http.local_addr()?, sync = %sync.local_addr()?, "serving");
    if !options.http.ip().is_loopback() && http_certificates.is_none() {
        tracing::warn!(
            "the API is plain HTTP: whoever is on the network between reads the keys and secrets it carries; \
             give --http-cert and --http-key, or let only what speaks TLS for it reach it"
        );
    }
    let api = async {
        let watched = async {
            if let Some(listener) = watched {
                api::serve(Incoming::new(listener, None), api::watched(app.clone()), stop(stopping.clone())).await;
            }
        };
        let served = api::serve(Incoming::new(http, http_certificates), api::routes(app.clone()), stop(stopping.clone()));
        tokio::join!(served, watched);
        Ok(())
    };
    let push = async {
        let served = publisher.serve(Incoming::new(sync, sync_certificates), proof, stop(stopping.clone())).await;
        sync_is_up.store(false, Ordering::Release);
        served.context("proxies cannot be served any longer")
    };
    let outcome = tokio::select! {
        outcome = async { tokio::try_join!(api, push).map(|((), ())| ()) } => outcome,
        end = writer.ended() => {
            end?;
            bail!("the writer ended before the server was stopped");
        }
        never = store.keep_uses() => match never {},
        never = sweep_logins(&store) => match never {},
    };
    // What was answered is durable; what is still queued is made before the database closes.
    let closed = async {
        if let Err(error) = store.write_uses().await {
            tracing::warn!("the last use of some keys was not stored: {error}");
        }
        store.stop().await;
        writer.ended().await
    };
    timeout(CLOSING, closed).await.context("storage did not close in time; the next start repairs it")??;
    tracing::info!("stopped");
    outcome
}

/// Every proxy takes a file, and so does every other connection. Systems allow 1024 at first, and many more to whoever asks.
fn open_as_many_files_as_allowed() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) if limit >= FEW_FILES => {}
        Ok(limit) => {
            tracing::warn!(limit, "only so many files may be open: with several hundred proxies or clients others will wait")
        }
        Err(error) => tracing::warn!(%error, "it is not known how many files may be open"),
    }
}

/// So many files several hundred proxies need, and as many connections as the two ports take besides.
const FEW_FILES: u64 = 4096;

/// Takes away logins that have expired, for as long as the server runs.
async fn sweep_logins(store: &Store) -> Infallible {
    let mut interval = tokio::time::interval(SWEEP_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        if let Err(error) = logins::sweep(store).await {
            tracing::warn!(%error, "logins that have expired were not taken away; they pass nowhere, and are tried again");
        }
    }
}

/// How often there is a look for logins that have expired.
const SWEEP_INTERVAL: Duration = Duration::from_secs(15 * 60);

/// So long storage may take for what is still queued when the server stops.
const CLOSING: Duration = Duration::from_secs(20);

async fn watch_files(files: Option<Files>) -> anyhow::Result<Option<Certificates>> {
    match files {
        Some(files) => Ok(Some(Certificates::watch(files).await?)),
        None => Ok(None),
    }
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}; choose another address or stop what uses it"))
}

/// SIGHUP, by which others are told to read their files again, ends nothing.
fn ignore_hangups() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangup = signal(SignalKind::hangup())?;
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            tracing::info!("SIGHUP is ignored: certificates are followed as they change, and nothing else is read again");
        }
    });
    Ok(())
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
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Arguments {
        #[command(flatten)]
        options: ServeOptions,
    }

    fn parse(line: &str) -> Result<ServeOptions, clap::Error> {
        let line = format!("serve --data x {line}");
        Arguments::try_parse_from(line.split_whitespace()).map(|arguments| arguments.options)
    }

    #[test]
    fn beyond_this_machine_proxies_are_served_with_tls_and_prove_who_they_are() {
        let tls = "--sync-cert c --sync-key k";
        for address in ["127.0.0.1:8081", "127.1.2.3:1", "[::1]:8081"] {
            let proof = |more: &str| parse(&format!("--sync {address} {more}")).unwrap().proof().unwrap();
            assert_eq!((proof(""), proof(tls)), (Proof::Optional, Proof::Optional), "{address}");
            assert_eq!(proof(&format!("{tls} --sync-client-ca a")), Proof::Required, "{address}");
        }
        for address in ["0.0.0.0:8081", "[::]:8081", "10.0.0.1:8081"] {
            let proof = |more: &str| parse(&format!("--sync {address} {more}")).unwrap().proof();
            assert!(proof("").is_err_and(|why| why.to_string().contains("--sync-cert")), "{address}");
            assert_eq!(proof(tls).unwrap(), Proof::Required, "{address}");
        }
    }

    #[test]
    fn an_address_is_one_of_this_machine_and_a_port() {
        for option in ["--http", "--sync", "--metrics"] {
            for address in ["localhost:8080", "8080", ":8080", "127.0.0.1", "127.0.0.1:99999", ""] {
                let told = Arguments::try_parse_from(["serve", "--data", "x", option, address]).unwrap_err().to_string();
                assert!(told.contains(option) && told.contains("127.0.0.1:8080") && told.contains("[::1]:8080"), "{told}");
            }
            assert!(parse(&format!("{option} [::1]:8080")).is_ok());
        }
    }

    #[test]
    fn a_certificate_and_its_key_are_given_together() {
        for line in ["--sync-cert c", "--sync-key k", "--sync-client-ca a", "--http-cert c", "--http-key k", "--sync 8081"] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
