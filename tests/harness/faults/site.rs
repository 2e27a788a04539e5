//! What faults happen to: a control plane, a cable to it, an Envoy at the other end, an upstream behind that.

use anyhow::{Context, Result, bail, ensure};
use tokio::task::JoinSet;

use super::Churn;
use crate::{Api, Cable, Config, Connection, ControlPlane, Done, Envoy, Key, Ledger, Protocol, Upstream, demo_filter, until};

const INSIDE: &str = "/v1/projects/1a5/containers";
/// Clients that make changes side by side, whose commits are then made together.
const CLIENTS: usize = 8;

/// See the module. Environment `1a5` exists.
pub struct Site {
    /// The control plane.
    pub control_plane: ControlPlane,
    /// The only way to it for Envoys of [`Site::add_envoy`].
    pub cable: Cable,
    /// What the Envoys protect.
    pub upstream: Upstream,
}

impl Site {
    /// All of it, but for an Envoy.
    pub async fn start() -> Result<Self> {
        let control_plane = ControlPlane::start().await?;
        control_plane.cli().text(&["environment", "create", "--id", "1a5", "--name", "production"]).await?;
        let cable = Cable::start(control_plane.sync_port()).await?;
        Ok(Self { control_plane, cable, upstream: Upstream::start()? })
    }

    /// The configuration of an Envoy under a name, at the end of a cable.
    pub fn config(&self, proxy: &str, cable: &Cable) -> Result<Config> {
        let mut config = Config::new(self.upstream.port(), cable.port())?;
        let mut filter = demo_filter()?;
        filter.as_object_mut().context("no filter configuration")?.insert("proxy".to_owned(), proxy.into());
        config.filter = filter.to_string();
        Ok(config)
    }

    /// Starts an Envoy under a name at the end of the site's cable; it may have no table yet.
    pub async fn add_envoy(&self, proxy: &str) -> Result<Envoy> {
        Envoy::start(&self.config(proxy, &self.cable)?).await
    }

    /// A client of the API.
    pub fn api(&self) -> Api {
        Api::of(&self.control_plane)
    }

    /// Creates active keys.
    pub async fn create_keys(&self, count: usize) -> Result<Vec<Key>> {
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            let (mut api, count) = (self.api(), count / CLIENTS + usize::from(client < count % CLIENTS));
            clients.spawn(async move {
                let mut keys = Vec::with_capacity(count);
                for number in 0..count {
                    keys.push(api.create_key("1a5", &format!("key-{client}-{number}"), 0).await?.0);
                }
                Ok::<_, anyhow::Error>(keys)
            });
        }
        let mut keys = Vec::with_capacity(count);
        while let Some(made) = clients.join_next().await {
            keys.extend(made??);
        }
        Ok(keys)
    }

    /// Clients that change keys at random, the same ones in the same way for one seed.
    pub fn churns(&self, ledger: &Ledger, seed: u64, keys_each: usize) -> Vec<Churn> {
        let seeds = (0..CLIENTS as u64).map(|client| seed.wrapping_mul(CLIENTS as u64).wrapping_add(client));
        seeds.map(|seed| Churn::new(self.api(), ledger.clone(), seed, keys_each)).collect()
    }

    /// Waits until every proxy has acknowledged everything that was changed before.
    pub async fn until_acknowledged(&self) -> Result<()> {
        match self.api().create_key("1a5", "last", 60).await?.1 {
            Done::Everywhere => Ok(()),
            Done::Missing(proxies) => bail!("{proxies} did not catch up"),
        }
    }
}

/// Asks with every key on every worker of some Envoys: exactly those pass that are active in storage.
pub async fn verify(api: &mut Api, envoys: &[&Envoy], keys: &[Key]) -> Result<()> {
    let states = api.key_states().await?;
    let active = |key: &Key| states.get(&key.access_key).is_some_and(|state| state == "active");
    let wanted: Vec<(String, u16)> = keys.iter().map(|key| (key.token.clone(), if active(key) { 200 } else { 401 })).collect();
    let mut workers = JoinSet::new();
    for envoy in envoys {
        for connection in envoy.connections_on_every_worker(Protocol::Http1).await? {
            workers.spawn(compare(connection, wanted.clone()));
        }
    }
    while let Some(compared) = workers.join_next().await {
        compared??;
    }
    Ok(())
}

async fn compare(mut connection: Connection, wanted: Vec<(String, u16)>) -> Result<()> {
    let mut wrong = 0;
    for (token, status) in &wanted {
        let answer = connection.get(INSIDE, &[("x-api-key", token)]).await.context("comparing the edge with storage")?;
        wrong += usize::from(answer.status != *status);
    }
    ensure!(wrong == 0, "the edge judges {wrong} of {} keys otherwise than storage", wanted.len());
    Ok(())
}

/// No VM of this Envoy has failed, and it still runs.
pub async fn ensure_sound(envoy: &mut Envoy) -> Result<()> {
    envoy.process().ensure_running()?;
    let reloads = envoy.stats(r"^wasm\.keygate\.vm_reload").await?;
    ensure!(!reloads.is_empty() && reloads.values().all(|count| *count == 0), "a VM has failed: {reloads:?}");
    let log = envoy.log();
    let signs = ["panicked", "Uncaught", "wasm trap", "[critical]"];
    let complaint = log.lines().find(|line| signs.iter().any(|sign| line.contains(sign)));
    ensure!(complaint.is_none(), "Envoy says: {}", complaint.unwrap_or_default());
    Ok(())
}

/// Waits until an Envoy's gauge has a value.
pub(super) async fn until_gauge(envoy: &Envoy, name: &str, value: u64) -> Result<()> {
    until(&format!("{name} to be {value}"), async || {
        let found = envoy.stats(&format!("^wasmcustom.keygate.default.{name}$")).await?;
        Ok(found.values().any(|found| *found == value).then_some(()))
    })
    .await
}
