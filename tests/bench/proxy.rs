//! Envoy as it is measured: one listener for each list of filters, all in one process, so that what is compared differs in nothing but its
//! filters. The router answers by itself, so that only Envoy works, but where a path is to be forwarded.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use harness::{Connection, Process, Protocol, envoy_binary, free_port, loopback, until};
use serde_json::{Value, json};

use crate::course::Place;

/// What an Envoy is to be.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Its listeners: what each is called, and its filters before the router.
    pub(crate) listeners: Vec<(&'static str, Vec<Value>)>,
    /// The gRPC services that filters call: what each is called, and its port.
    pub(crate) services: Vec<(&'static str, u16)>,
    /// A path that goes to an upstream, and that one's port.
    pub(crate) forwarded: Option<(String, u16)>,
}

const UPSTREAM: &str = "upstream";

/// A running Envoy.
pub(crate) struct Proxy {
    process: Process,
    admin: u16,
    /// How long it took until it listened, if that was waited for.
    started_in: Option<Duration>,
    ports: Vec<(&'static str, u16)>,
}

impl Proxy {
    /// Starts one; it listens when this returns. Its configuration and its log stay in `folder` under `name`.
    pub(crate) async fn start(folder: &Path, name: &str, workers: usize, plan: Plan) -> Result<Self> {
        let launched = Instant::now();
        let mut proxy = Self::launch(folder, name, workers, plan, &[])?;
        let (process, admin) = (&mut proxy.process, proxy.admin);
        until("Envoy to be ready", async || {
            process.ensure_running()?;
            let Ok(mut connection) = Connection::open(loopback(admin), Protocol::Http1).await else { return Ok(None) };
            Ok(connection.get("/ready", &[]).await.is_ok_and(|answer| answer.status == 200).then_some(()))
        })
        .await?;
        proxy.started_in = Some(launched.elapsed());
        Ok(proxy)
    }

    /// Starts one by this command, and does not wait until it listens.
    pub(crate) fn launch(folder: &Path, name: &str, workers: usize, plan: Plan, by: &[String]) -> Result<Self> {
        let admin = free_port()?;
        let mut ports = Vec::new();
        let mut listeners = Vec::new();
        for (listener, filters) in plan.listeners {
            let port = free_port()?;
            ports.push((listener, port));
            listeners.push(listener_json(listener, port, filters, plan.forwarded.as_ref().map(|(path, _)| path.as_str())));
        }
        let services = plan.services.iter().map(|(name, port)| cluster(name, *port, "http2_protocol_options"));
        let upstream = plan.forwarded.iter().map(|(_, port)| cluster(UPSTREAM, *port, "http_protocol_options"));
        let config = json!({
            "admin": { "address": address(admin) },
            "static_resources": {
                "listeners": listeners,
                "clusters": services.chain(upstream).collect::<Value>(),
            },
        });
        let path = folder.join(format!("{name}.json"));
        fs::write(&path, serde_json::to_string(&config)?).with_context(|| format!("writing {}", path.display()))?;
        let (path, workers) = (path.to_string_lossy(), workers.to_string());
        let envoy = envoy_binary()?.to_string_lossy().into_owned();
        let arguments = ["--config-path", &path, "--concurrency", &workers, "--disable-hot-restart", "--log-level", "warning"];
        let command: Vec<&str> = by.iter().map(String::as_str).chain([envoy.as_str()]).chain(arguments).collect();
        let (program, arguments) = command.split_first().context("a command")?;
        let process = Process::start(name, Path::new(program), arguments, &folder.join(format!("{name}.log")))?;
        Ok(Self { process, admin, started_in: None, ports })
    }

    /// The port of a listener.
    pub(crate) fn port(&self, listener: &str) -> Result<u16> {
        let found = self.ports.iter().find(|(name, _)| *name == listener);
        Ok(found.with_context(|| format!("no listener {listener:?}"))?.1)
    }

    /// Where a course to this listener is run.
    pub(crate) fn place(&self, listener: &str) -> Result<Place> {
        Ok(Place { port: self.port(listener)?, process: self.pid() })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// How long it took from its start until it listened.
    pub(crate) fn started_in(&self) -> Result<Duration> {
        self.started_in.context("nobody waited until it listened")
    }

    /// Waits until a listener lets a request with this header pass.
    pub(crate) async fn until_passes(&self, listener: &str, path: &str, header: (&str, &str)) -> Result<()> {
        let port = self.port(listener)?;
        until("a request to pass", async || {
            let mut connection = Connection::open(loopback(port), Protocol::Http1).await?;
            Ok((connection.get(path, &[header]).await?.status == 200).then_some(()))
        })
        .await
    }

    /// How many connections each of its workers has on a listener.
    pub(crate) async fn connections(&self, listener: &str) -> Result<Vec<u64>> {
        let mut connection = Connection::open(loopback(self.admin), Protocol::Http1).await?;
        let pattern = format!("/stats?filter=^listener.{listener}.worker_[0-9]%2B.downstream_cx_active$");
        let answer = connection.get(&pattern, &[]).await?;
        ensure!(answer.status == 200, "Envoy's statistics answered {}", answer.status);
        Ok(answer.text().lines().filter_map(|line| line.rsplit_once(": ")?.1.parse().ok()).collect())
    }

    /// Fails, with the end of its log, if it has ended.
    pub(crate) fn ensure_running(&mut self) -> Result<()> {
        self.process.ensure_running()
    }

    /// Ends it at once.
    pub(crate) fn kill(self) {
        self.process.kill();
    }

    /// Asks it to end and waits until it has.
    pub(crate) async fn stop(self) -> Result<()> {
        self.process.stop().await
    }
}

fn address(port: u16) -> Value {
    json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } })
}

fn listener_json(name: &str, port: u16, filters: Vec<Value>, forwarded: Option<&str>) -> Value {
    let forwarded = forwarded.map(|path| json!({ "match": { "path": path }, "route": { "cluster": UPSTREAM } }));
    let answered = json!({
        "match": { "prefix": "/" },
        "direct_response": { "status": 200, "body": { "inline_string": "ok" } },
    });
    let routes: Vec<Value> = forwarded.into_iter().chain([answered]).collect();
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
    });
    let filters: Vec<Value> = filters.into_iter().chain([router]).collect();
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "use_remote_address": true,
        "normalize_path": true,
        // Otherwise every 400 closes its connection, and what is measured is how connections are made.
        "stream_error_on_invalid_http_message": true,
        "http_filters": filters,
        "route_config": { "virtual_hosts": [{
            "name": "all",
            "domains": ["*"],
            "routes": routes,
        }] },
    });
    json!({
        "name": name,
        "stat_prefix": name,
        "address": address(port),
        "filter_chains": [{ "filters": [{ "name": "envoy.filters.network.http_connection_manager", "typed_config": manager }] }],
    })
}

fn cluster(name: &str, port: u16, protocol: &str) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "typed_extension_protocol_options": { "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": { protocol: {} },
        } },
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": address(port) } }] }],
        },
    })
}
