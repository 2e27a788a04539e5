//! A great many random changes: nothing grows that should not, and what the edge holds in the end is what a fresh Envoy gets.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::task::JoinSet;

use super::site::until_gauge;
use super::{Churn, Site, ensure_sound, verify};
use crate::hostile::Random;
use crate::{Envoy, Key, Load, Tally};

/// Keys of one client at a time: few, so that every key and every bucket changes many times.
const KEYS_EACH: usize = 100;
/// Of all keys there ever were, so many are compared at most.
const COMPARED: usize = 4_000;
/// What may differ between an Envoy that saw every change and one that saw the result.
const ENVOY_MARGIN: u64 = 16 << 20;
/// The control plane's memory may grow by so much, and by so much for each change: it remembers the digests that changed last, and its
/// database caches pages.
const CONTROL_PLANE_MARGIN: u64 = 48 << 20;
const CONTROL_PLANE_BYTES_A_CHANGE: u64 = 512;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Changes {
    /// How many.
    pub changes: usize,
    /// The same seed makes the same changes.
    pub seed: u64,
}

impl Changes {
    /// Runs it.
    ///
    /// # Errors
    /// What passed or was refused wrongly, was lost, or grew.
    pub async fn run(self) -> Result<Tally> {
        self.all().await.with_context(|| format!("random changes, seed {}", self.seed))
    }

    async fn all(self) -> Result<Tally> {
        let mut site = Site::start().await?;
        let mut envoy = site.add_envoy("edge-1").await?;
        envoy.until_table().await?;
        let control_plane_before = site.control_plane.process()?.resident_bytes()?;
        let load = Load::start([&envoy]).await?;
        let churns = site.churns(&load.ledger(), self.seed, KEYS_EACH);
        let (mut clients, each) = (JoinSet::new(), self.changes.div_ceil(churns.len()));
        for churn in churns {
            clients.spawn(make(churn, each));
        }
        let mut keys = Vec::new();
        while let Some(churn) = clients.join_next().await {
            keys.extend(churn??.into_keys());
            load.ensure_right()?;
        }
        site.until_acknowledged().await?;
        let tally = load.stop().await?;
        ensure!(tally.broken == 0 && tally.unavailable == 0, "traffic did not go on: {tally:?}");

        let mut fresh = site.add_envoy("edge-2").await?;
        fresh.until_table().await?;
        let keys = sample(keys, self.seed);
        verify(&mut site.api(), &[&envoy, &fresh], &keys).await?;
        self.ensure_same_table(&site, [&envoy, &fresh]).await?;
        ensure_sound(&mut envoy).await?;

        let (worn, new) = (allocated(&envoy).await?, allocated(&fresh).await?);
        ensure!(worn < new + ENVOY_MARGIN, "Envoy holds {worn} bytes after the changes, a fresh one {new}");
        let (worn, new) = (envoy.process().resident_bytes()?, fresh.process().resident_bytes()?);
        ensure!(worn < new + 2 * ENVOY_MARGIN, "Envoy has {worn} bytes resident after the changes, a fresh one {new}");
        let after = site.control_plane.process()?.resident_bytes()?;
        let bound = control_plane_before + CONTROL_PLANE_MARGIN + self.changes as u64 * CONTROL_PLANE_BYTES_A_CHANGE;
        ensure!(after < bound, "the control plane grew from {control_plane_before} to {after} bytes");
        Ok(tally)
    }

    /// Both show the revision that the control plane is at, and as many keys as storage has active ones.
    async fn ensure_same_table(self, site: &Site, envoys: [&Envoy; 2]) -> Result<()> {
        let mut api = site.api();
        let active = api.key_states().await?.values().filter(|state| *state == "active").count() as u64;
        let proxies = api.ask("GET", "/proxies", &Value::Null).await?.json()?;
        let proxies = proxies.get("data").and_then(Value::as_array).context("no list of proxies")?;
        let mut acknowledged = proxies.iter().map(|proxy| proxy.get("acknowledged").and_then(Value::as_u64));
        let revision = acknowledged.next().flatten().context("no revision acknowledged")?;
        ensure!(acknowledged.all(|other| other == Some(revision)), "they are not in step: {proxies:?}");
        for envoy in envoys {
            until_gauge(envoy, "table_revision", revision).await?;
            until_gauge(envoy, "table_keys", active).await?;
        }
        Ok(())
    }
}

async fn make(mut churn: Churn, changes: usize) -> Result<Churn> {
    for _ in 0..changes {
        churn.step().await?;
    }
    Ok(churn)
}

fn sample(mut keys: Vec<Key>, seed: u64) -> Vec<Key> {
    let mut random = Random::new(seed);
    while keys.len() > COMPARED {
        keys.swap_remove(random.below(keys.len()));
    }
    keys
}

/// What Envoy has allocated, shared data included, in bytes.
async fn allocated(envoy: &Envoy) -> Result<u64> {
    let memory: Value = serde_json::from_str(&envoy.ask_admin("GET", "/memory").await?)?;
    Ok(memory.get("allocated").and_then(Value::as_str).context("Envoy does not say what it has allocated")?.parse()?)
}
