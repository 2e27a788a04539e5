//! Envoy from envoy/one-url.yaml, the sample in which clients manage keys and use them at one address.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Config, Envoy, replace_once};
use crate::{Issued, Protocol, free_port, loopback, until};

const SAMPLE: &str = include_str!("../../../envoy/one-url.yaml");
const READY: &str = "/keygate/ready";

/// What is to be changed in envoy/one-url.yaml, besides what every sample has.
#[derive(Clone, Debug)]
pub struct OneUrlSample {
    /// The port of the control plane's API on this machine.
    pub management_port: u16,
    /// What the listener for HTTPS shows.
    pub certificate: Issued,
    /// The upstream's system.
    pub preset: &'static str,
}

/// An Envoy from envoy/one-url.yaml.
pub struct OneUrl {
    /// The Envoy.
    pub envoy: Envoy,
    tls: SocketAddr,
}

impl OneUrl {
    /// Starts one, and waits until every worker has a table. What is marked in the sample to be changed is taken from `config` and
    /// `sample`.
    pub async fn start(config: &Config, sample: &OneUrlSample) -> Result<Self> {
        let tls_port = free_port()?;
        let Issued { cert, key } = &sample.certificate;
        let own = [
            ("address: 0.0.0.0, port_value: 10443", format!("address: 127.0.0.1, port_value: {tls_port}")),
            ("address: localhost, port_value: 8080", format!("address: localhost, port_value: {}", sample.management_port)),
            ("/etc/keygate/edge.pem", cert.display().to_string()),
            ("/etc/keygate/edge.key", key.display().to_string()),
            ("\"preset\": \"rancher-1.6\"", format!("\"preset\": \"{}\"", sample.preset)),
        ];
        let mut text = SAMPLE.to_owned();
        for (old, new) in &own {
            replace_once(&mut text, old, new)?;
        }
        let envoy = Envoy::start_sample_text(config, text, "localhost").await?;
        for mut connection in envoy.connections_on_every_worker(Protocol::Http1).await? {
            until("a worker to be ready", async || Ok((connection.get(READY, &[]).await?.status == 200).then_some(()))).await?;
        }
        Ok(Self { envoy, tls: loopback(tls_port) })
    }

    /// Its one URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.envoy.edge())
    }

    /// The same for those who want TLS.
    pub fn https_url(&self) -> String {
        format!("https://localhost:{}", self.tls.port())
    }
}

/// The rules that stand in envoy/one-url.yaml, the preset's not among them.
pub fn one_url_rules() -> Result<Vec<Value>> {
    let (_, rest) = SAMPLE.split_once("value: |\n").context("the sample has no filter configuration")?;
    let (filter, _) = rest.split_once("- name: envoy.filters.http.router").context("the end of the filter's configuration")?;
    let filter = filter.rsplit_once('}').map(|(filter, _)| format!("{filter}}}")).context("the configuration has no end")?;
    let filter: Value = serde_json::from_str(&filter).context("reading the filter's configuration")?;
    let rules = filter.get("rules").and_then(Value::as_array).cloned().unwrap_or_default();
    ensure!(!rules.is_empty(), "the sample has no rules");
    Ok(rules)
}
