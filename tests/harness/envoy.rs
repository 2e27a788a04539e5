//! Real Envoy with the filter inside, configured from envoy/demo.yaml: what people run is what is tested.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::{Connection, Issued, Process, Protocol, Scratch, envoy_binary, free_port, loopback, module, until};

mod listener;
mod one_url;

pub use one_url::{OneUrl, OneUrlSample, one_url_rules};

const TEMPLATE: &str = include_str!("../../envoy/demo.yaml");
const SAMPLE: &str = include_str!("../../envoy/edge.yaml");
const TLS_SAMPLE: &str = include_str!("../../envoy/edge-tls.yaml");
const EMBEDDED: &str = include_str!("../../envoy/embedded.yaml");
/// The sample of a filter's configuration that Envoy discovers in a file.
pub const EMBEDDED_FILTER: &str = include_str!("../../envoy/embedded.json");

/// Connections opened for each worker before the kernel is said not to spread them.
const ATTEMPTS_PER_WORKER: usize = 64;

/// How an Envoy is to be.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many workers, each with a VM of the filter.
    pub workers: usize,
    /// The port of the listener.
    pub edge_port: u16,
    /// The port of Envoy's own administration.
    pub admin_port: u16,
    /// The port of the protected service on this machine.
    pub upstream_port: u16,
    /// The control plane's port for proxies.
    pub sync_port: u16,
    /// The filter's configuration, sent as it is, JSON or not. [`demo_filter`] is a good start.
    pub filter: String,
    /// The filter's module.
    pub module: PathBuf,
    /// Texts in the template to replace, each of which stands there once.
    pub edits: Vec<(&'static str, &'static str)>,
    /// Arguments about how it restarts: none, unless they say so.
    pub restart: Vec<String>,
    /// Variables in its environment.
    pub environment: Vec<(&'static str, PathBuf)>,
    /// The listener is in a file of its own: see [`Envoy::replace_listener`].
    pub listener_apart: bool,
}

impl Config {
    /// Two workers on free ports with the demo's filter.
    pub fn new(upstream_port: u16, sync_port: u16) -> Result<Self> {
        Ok(Self {
            workers: 2,
            edge_port: free_port()?,
            admin_port: free_port()?,
            upstream_port,
            sync_port,
            filter: demo_filter()?.to_string(),
            module: module()?,
            edits: Vec::new(),
            restart: vec!["--disable-hot-restart".to_owned()],
            environment: Vec::new(),
            listener_apart: false,
        })
    }

    /// Changes the filter's configuration, which must be JSON.
    pub fn edit_filter(&mut self, edit: impl FnOnce(&mut Value)) -> Result<()> {
        let mut filter = serde_json::from_str(&self.filter).context("reading the filter's configuration")?;
        edit(&mut filter);
        self.filter = filter.to_string();
        Ok(())
    }

    fn render(&self) -> Result<String> {
        let (before, _, after) = around_filter()?;
        let filter = serde_json::to_string(&self.filter)?;
        let mut text = format!("{before}value: {filter}\n{after}");
        let module = serde_json::to_string(&self.module)?;
        replace_once(&mut text, "${MODULE}", &module)?;
        for (name, port) in [
            ("${EDGE_PORT}", self.edge_port),
            ("${ADMIN_PORT}", self.admin_port),
            ("${UPSTREAM_PORT}", self.upstream_port),
            ("${SYNC_PORT}", self.sync_port),
        ] {
            replace_once(&mut text, name, &port.to_string())?;
        }
        for (old, new) in &self.edits {
            replace_once(&mut text, old, new)?;
        }
        Ok(text)
    }
}

/// What is to be changed in envoy/edge-tls.yaml, and the filter's name and token.
#[derive(Clone, Debug)]
pub struct TlsSample {
    /// The control plane's name, and who must have signed its certificate.
    pub control_plane: (String, PathBuf),
    /// Envoy's own certificate.
    pub client: Option<Issued>,
    /// The filter's `proxy`.
    pub proxy: String,
    /// The filter's `control_plane.token`.
    pub token: Option<String>,
}

/// The filter's configuration in envoy/demo.yaml.
pub fn demo_filter() -> Result<Value> {
    let (_, filter, _) = around_filter()?;
    serde_json::from_str(&filter).context("reading the filter's configuration in the template")
}

/// The template before, in and after the block of lines that is the filter's configuration.
fn around_filter() -> Result<(&'static str, String, String)> {
    let (before, rest) = TEMPLATE.split_once("value: |\n").context("the template has no filter configuration")?;
    let indent = before.len() - before.trim_end_matches(' ').len();
    let inside = |line: &&str| line.len() - line.trim_start().len() > indent;
    let filter: Vec<&str> = rest.lines().take_while(inside).collect();
    let after: Vec<&str> = rest.lines().skip(filter.len()).collect();
    Ok((before, filter.join("\n"), after.join("\n")))
}

fn replace_once(text: &mut String, old: &str, new: &str) -> Result<()> {
    let found = text.matches(old).count();
    ensure!(found == 1, "{old:?} stands {found} times in the template");
    *text = text.replace(old, new);
    Ok(())
}

/// A running Envoy.
pub struct Envoy {
    process: Process,
    workers: usize,
    edge: SocketAddr,
    admin: SocketAddr,
    folder: PathBuf,
    _scratch: Option<Scratch>,
}

impl Envoy {
    /// Starts one whose folder goes with it. Its listener is open when this returns; see [`Self::until_table`] for more.
    pub async fn start(config: &Config) -> Result<Self> {
        let scratch = Scratch::new("keygate-envoy")?;
        let mut envoy = Self::start_in(scratch.path(), config).await?;
        envoy._scratch = Some(scratch);
        Ok(envoy)
    }

    /// Starts one from envoy/edge.yaml, with what is marked there to be changed taken from `config`, and with its edits.
    pub async fn start_sample(config: &Config) -> Result<Self> {
        Self::start_sample_text(config, SAMPLE.to_owned(), "localhost").await
    }

    /// Starts one from envoy/edge.yaml with the cluster of envoy/edge-tls.yaml, with what is marked there to be changed taken from
    /// `config` and `sample`. The control plane is on this machine, whatever its name.
    pub async fn start_tls_sample(config: &Config, sample: &TlsSample) -> Result<Self> {
        let (before, rest) = SAMPLE.split_once("    # Where the filter hears of keys").context("the sample's cluster")?;
        let (_, after) = rest.split_once("overload_manager:").context("the end of the sample's cluster")?;
        let mut cluster = TLS_SAMPLE.to_owned();
        let (name, ca) = &sample.control_plane;
        let token = sample.token.as_ref().map(|token| format!(", \"token\": \"{token}\"")).unwrap_or_default();
        let certificate = "            tls_certificates:\n";
        match &sample.client {
            Some(Issued { cert, key }) => {
                replace_once(&mut cluster, "/etc/keygate/edge.pem", &cert.to_string_lossy())?;
                replace_once(&mut cluster, "/etc/keygate/edge.key", &key.to_string_lossy())?;
            }
            None => {
                let (before, rest) = cluster.split_once(certificate).context("Envoy's own certificate")?;
                let (_, after) = rest.split_once("      load_assignment:").context("the end of Envoy's own certificate")?;
                cluster = format!("{before}      load_assignment:{after}");
            }
        }
        replace_once(&mut cluster, "/etc/keygate/ca.pem", &ca.to_string_lossy())?;
        replace_once(&mut cluster, "exact: keygate.example.org", &format!("exact: {name}"))?;
        replace_once(&mut cluster, "sni: keygate.example.org", &format!("sni: {name}"))?;
        let mut text = format!("{before}{cluster}\noverload_manager:{after}");
        replace_once(&mut text, "\"proxy\": \"edge-1\"", &format!("\"proxy\": \"{}\"", sample.proxy))?;
        replace_once(&mut text, "{ \"cluster\": \"keygate\" }", &format!("{{ \"cluster\": \"keygate\"{token} }}"))?;
        Self::start_sample_text(config, text, "keygate.example.org").await
    }

    async fn start_sample_text(config: &Config, text: String, control_plane: &str) -> Result<Self> {
        let sync = format!("address: {control_plane}, port_value: 8081");
        let own = [
            ("/etc/keygate/keygate_filter.wasm", config.module.display().to_string()),
            (&sync, format!("address: localhost, port_value: {}", config.sync_port)),
        ];
        Self::start_filled_in(config, text, &own).await
    }

    /// Starts one from envoy/embedded.yaml, whose filter is configured by a file; what is marked there to be changed is taken from
    /// `config`.
    pub async fn start_embedded(filter: &Path, config: &Config) -> Result<Self> {
        let own = [("{ path: /etc/keygate/filter.json }", format!("{{ path: {} }}", filter.display()))];
        Self::start_filled_in(config, EMBEDDED.to_owned(), &own).await
    }

    /// Starts one from a sample: what is marked there to be changed is `own` and what all samples have.
    async fn start_filled_in(config: &Config, mut text: String, own: &[(&str, String)]) -> Result<Self> {
        let scratch = Scratch::new("keygate-envoy")?;
        let ports = [
            ("address: 127.0.0.1, port_value: 9901", format!("address: 127.0.0.1, port_value: {}", config.admin_port)),
            ("address: 0.0.0.0, port_value: 10000", format!("address: 127.0.0.1, port_value: {}", config.edge_port)),
            ("address: localhost, port_value: 8090", format!("address: localhost, port_value: {}", config.upstream_port)),
        ];
        for (old, new) in own.iter().chain(&ports) {
            replace_once(&mut text, old, new)?;
        }
        for (old, new) in &config.edits {
            replace_once(&mut text, old, new)?;
        }
        let mut envoy = Self::start_text(scratch.path(), &text, config).await?;
        envoy._scratch = Some(scratch);
        Ok(envoy)
    }

    /// Starts one that keeps its configuration and its log in `folder`.
    pub async fn start_in(folder: &Path, config: &Config) -> Result<Self> {
        let mut text = config.render()?;
        if config.listener_apart {
            let (rest, listener) = listener::apart(&text, folder)?;
            std::fs::write(folder.join(listener::FILE), listener)?;
            text = rest;
        }
        Self::start_text(folder, &text, config).await
    }

    async fn start_text(folder: &Path, text: &str, config: &Config) -> Result<Self> {
        let path = folder.join("envoy.yaml");
        std::fs::write(&path, text)?;
        let (path, workers) = (path.to_string_lossy(), config.workers.to_string());
        let mut arguments = vec![
            "--config-path",
            &path,
            "--concurrency",
            &workers,
            "--log-level",
            "warning",
            "--component-log-level",
            "wasm:info",
        ];
        arguments.extend(config.restart.iter().map(String::as_str));
        let log = folder.join("envoy.log");
        let mut envoy = Self {
            process: Process::start_with("Envoy", &envoy_binary()?, &arguments, &config.environment, &log)?,
            workers: config.workers,
            edge: loopback(config.edge_port),
            admin: loopback(config.admin_port),
            folder: folder.to_owned(),
            _scratch: None,
        };
        until("Envoy to listen", async || {
            envoy.process.ensure_running()?;
            // Until the administration is up, it cannot be asked.
            let stats = envoy.stats("^listener_manager").await.unwrap_or_default();
            let started = stats.get("listener_manager.workers_started") == Some(&1);
            let listening = stats.get("listener_manager.total_listeners_active").is_some_and(|listeners| *listeners > 0);
            Ok((started && listening).then_some(()))
        })
        .await?;
        Ok(envoy)
    }

    /// Replaces the listener of an Envoy that has it in a file of its own, or takes it away, and waits until Envoy has taken that.
    pub async fn replace_listener(&self, config: Option<&Config>) -> Result<()> {
        const UPDATES: &str = "listener_manager.lds.update_success";
        let updates = async || Ok::<_, anyhow::Error>(self.stats(UPDATES).await?.get(UPDATES).copied());
        let before = updates().await?;
        let text = match config {
            Some(config) => listener::apart(&config.render()?, &self.folder)?.1,
            None => listener::none(),
        };
        // Envoy looks when a file is moved into place, and so never reads half of one.
        let fresh = self.folder.join("fresh.yaml");
        std::fs::write(&fresh, text)?;
        std::fs::rename(fresh, self.folder.join(listener::FILE))?;
        until("Envoy to take the listener's file", async || Ok((updates().await? != before).then_some(()))).await
    }

    /// Waits until every worker judges by a table: until it no longer answers a request without a credential with 503.
    pub async fn until_table(&self) -> Result<()> {
        for mut connection in self.connections_on_every_worker(Protocol::Http1).await? {
            until("a worker to have a table", async || {
                let answer = connection.get("/", &[]).await?;
                Ok((answer.status != 503).then_some(()))
            })
            .await?;
        }
        Ok(())
    }

    /// Opens connections until every worker has taken one, and gives one for each, in the order of the workers. Nobody else
    /// may open connections to this Envoy meanwhile.
    pub async fn connections_on_every_worker(&self, protocol: Protocol) -> Result<Vec<Connection>> {
        let mut found = BTreeMap::new();
        let mut taken = self.taken_by_worker().await?;
        for _ in 0..self.workers * ATTEMPTS_PER_WORKER {
            let connection = Connection::open(self.edge, protocol).await?;
            let worker = until("a worker to take a connection", async || {
                let now = self.taken_by_worker().await?;
                let worker = now.iter().find(|(name, count)| taken.get(*name) != Some(count));
                let worker = worker.map(|(name, _)| name.clone());
                taken = now;
                Ok(worker)
            })
            .await?;
            found.entry(worker).or_insert(connection);
            if found.len() == self.workers {
                return Ok(found.into_values().collect());
            }
        }
        bail!("only {} of {} workers took a connection", found.len(), self.workers)
    }

    async fn taken_by_worker(&self) -> Result<BTreeMap<String, u64>> {
        self.stats(r"^listener\.edge\.worker_[0-9]+\.downstream_cx_total$").await
    }

    /// The counters and gauges whose name matches a regular expression.
    pub async fn stats(&self, pattern: &str) -> Result<BTreeMap<String, u64>> {
        let text = self.ask_admin("GET", &format!("/stats?filter={pattern}")).await?;
        let number = |line: &str| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Ok(text.lines().filter_map(number).collect())
    }

    /// Asks Envoy's administration, and gives its answer's body.
    pub async fn ask_admin(&self, method: &str, path: &str) -> Result<String> {
        let mut connection = Connection::open(self.admin, Protocol::Http1).await?;
        let answer = connection.send(method, path, &[], "").await?;
        ensure!(answer.status == 200, "Envoy's {path} answered {}", answer.status);
        Ok(answer.text())
    }

    /// Where requests go.
    pub fn edge(&self) -> SocketAddr {
        self.edge
    }

    /// How many workers it has.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// All that it logged so far, the filter's lines among it.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Kills it, as a crash would.
    pub fn kill(self) {
        self.process.kill();
    }

    /// Asks it to end and waits until it has.
    pub async fn stop(self) -> Result<()> {
        self.process.stop().await
    }
}
