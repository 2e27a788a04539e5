//! Envoys in front of one upstream, fed by one control plane, and requests that reach every worker of each.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use harness::{Config, Connection, ControlPlane, Envoy, Key, Protocol, Upstream, demo_filter};
use serde_json::Value;
use tokio::task::JoinSet;

/// How many requests decide that a change has arrived everywhere.
pub(crate) const MANY: usize = 10_000;

/// A path in environment `1a5`, with the demo's rules.
pub(crate) const INSIDE: &str = "/v1/projects/1a5/containers";

/// See the module.
pub(crate) struct Edge {
    pub(crate) control_plane: ControlPlane,
    pub(crate) envoys: Vec<Envoy>,
    pub(crate) upstream: Upstream,
}

impl Edge {
    /// A control plane and `envoys` Envoys of two workers each, all of which have their first table.
    pub(crate) async fn start(envoys: usize) -> Result<Self> {
        let upstream = Upstream::start()?;
        let control_plane = ControlPlane::start().await?;
        let mut edge = Self { control_plane, envoys: Vec::new(), upstream };
        for number in 1..=envoys {
            edge.add_envoy(&format!("edge-{number}")).await?;
        }
        Ok(edge)
    }

    /// The same, and a key of environment `1a5` that every proxy has acknowledged.
    pub(crate) async fn with_key(envoys: usize) -> Result<(Self, Key)> {
        let edge = Self::start(envoys).await?;
        edge.change(&["environment", "create", "--id", "1a5", "--name", "production"]).await?;
        let key = edge.control_plane.cli().create_key(&["--environment", "1a5", "--name", "one", "--wait"]).await?;
        Ok((edge, key))
    }

    /// Starts another Envoy under a name, and waits for its table.
    pub(crate) async fn add_envoy(&mut self, proxy: &str) -> Result<()> {
        let config = self.config(proxy)?;
        self.add(&config).await
    }

    /// Starts another Envoy, which reports use every second, and waits for its table.
    pub(crate) async fn add_reporting_envoy(&mut self, proxy: &str) -> Result<()> {
        let mut config = self.config(proxy)?;
        config.edit_filter(|filter| filter["control_plane"]["usage_seconds"] = 1.into())?;
        self.add(&config).await
    }

    /// Starts another Envoy that is to be so, and waits for its table.
    pub(crate) async fn add(&mut self, config: &Config) -> Result<()> {
        let envoy = Envoy::start(config).await?;
        envoy.until_table().await?;
        self.envoys.push(envoy);
        Ok(())
    }

    /// An Envoy with these rules before a preset's, which sends what is about a path of these regular expressions to the control plane,
    /// and the rest to the upstream; it has a table.
    pub(crate) async fn one_url(&self, preset: &str, rules: Value, managed: &[&str]) -> Result<Envoy> {
        const INDENT: &str = "\n                        ";
        let mut config = self.config("edge-1")?;
        config.edit_filter(|filter| {
            filter["preset"] = preset.into();
            filter["rules"] = rules;
        })?;
        let route = |regex: &&str| {
            format!("- match: {{ safe_regex: {{ regex: '{regex}' }} }}{INDENT}  route: {{ cluster: management }}{INDENT}")
        };
        let managed: String = managed.iter().map(route).collect();
        let routes = format!("routes:{INDENT}{managed}- match: {{ prefix: \"/\" }}");
        let cluster = format!(
            "clusters:
    - name: management
      type: STATIC
      connect_timeout: 5s
      load_assignment:
        cluster_name: management
        endpoints:
          - lb_endpoints:
              - endpoint:
                  address:
                    socket_address: {{ address: 127.0.0.1, port_value: {} }}
    # What is protected.",
            self.control_plane.http_port()
        );
        config.edits.push(("routes:\n                        - match: { prefix: \"/\" }", routes.leak()));
        config.edits.push(("clusters:\n    # What is protected.", cluster.leak()));
        let envoy = Envoy::start(&config).await?;
        envoy.until_table().await?;
        Ok(envoy)
    }

    /// Makes environment `1a5`, and a user alice who may write there.
    pub(crate) async fn add_alice(&self) -> Result<()> {
        for command in [
            &["environment", "create", "--id", "1a5", "--name", "production"][..],
            &["account", "create", "--name", "alice", "--kind", "user"],
            &["member", "add", "--environment", "1a5", "--account", "alice", "--role", "member"],
        ] {
            self.change(command).await?;
        }
        Ok(())
    }

    /// Gives an account a password, which is in force when this returns.
    pub(crate) async fn set_password(&self, account: &str, password: &str) -> Result<()> {
        let set = ["account", "set-password", account, "--stdin", "--wait", "20"];
        crate::login::admin(&self.control_plane)?.text(&set, &format!("{password}\n")).await.map(|_| ())
    }

    /// The configuration of an Envoy under a name.
    pub(crate) fn config(&self, proxy: &str) -> Result<Config> {
        self.config_with_limit(proxy, 3600)
    }

    /// The same with another staleness limit.
    pub(crate) fn config_with_limit(&self, proxy: &str, staleness_limit_seconds: u64) -> Result<Config> {
        let mut config = Config::new(self.upstream.port(), self.control_plane.sync_port())?;
        let mut filter = demo_filter()?;
        filter["proxy"] = proxy.into();
        filter["staleness_limit_seconds"] = staleness_limit_seconds.into();
        config.filter = filter.to_string();
        Ok(config)
    }

    /// Sends [`MANY`] requests with a key, spread over all workers of all Envoys, half of them by HTTP/2, and counts the answers
    /// by their status.
    pub(crate) async fn statuses(&self, key: &Key, path: &str) -> Result<BTreeMap<u16, usize>> {
        let mut connections = Vec::new();
        for envoy in &self.envoys {
            for protocol in [Protocol::Http1, Protocol::Http2] {
                connections.extend(envoy.connections_on_every_worker(protocol).await?);
            }
        }
        let each = MANY.div_ceil(connections.len());
        let mut tasks = JoinSet::new();
        for connection in connections {
            tasks.spawn(ask_often(connection, path.to_owned(), key.token.clone(), each));
        }
        let mut counts = BTreeMap::new();
        while let Some(statuses) = tasks.join_next().await {
            for status in statuses?? {
                *counts.entry(status).or_insert(0) += 1;
            }
        }
        Ok(counts)
    }

    /// All of [`MANY`] requests get this status.
    pub(crate) async fn expect(&self, what: &str, key: &Key, path: &str, status: u16) -> Result<()> {
        let counts = self.statuses(key, path).await?;
        ensure!(counts.keys().eq([&status]), "{what}: expected {status} only, got {counts:?}");
        Ok(())
    }

    /// Runs a command that changes something and waits until every proxy has acknowledged it.
    pub(crate) async fn change(&self, arguments: &[&str]) -> Result<()> {
        self.control_plane.cli().text(&[arguments, &["--wait", "20"]].concat()).await.map(|_| ())
    }
}

async fn ask_often(mut connection: Connection, path: String, token: String, times: usize) -> Result<Vec<u16>> {
    let mut statuses = Vec::with_capacity(times);
    for _ in 0..times {
        let answer = connection.get(&path, &[("x-api-key", &token)]).await.context("asking")?;
        statuses.push(answer.status);
    }
    Ok(statuses)
}
