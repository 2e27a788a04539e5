//! The stream is cut again and again, behind random bytes in either direction, by FIN and by RST, while keys change all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Churn, Site, ensure_sound, verify};
use crate::hostile::Random;
use crate::{Cut, DEADLINE, Direction, Flow, Load, Tally};

/// Sometimes messages are still under way when it happens.
const LATE: Flow = Flow::Late(Duration::from_millis(20));
/// Keys of one client at a time.
const KEYS_EACH: usize = 50;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Cuts {
    /// How often.
    pub cuts: usize,
    /// The same seed draws the same bytes; what they fall upon still differs.
    pub seed: u64,
}

impl Cuts {
    /// Runs it.
    ///
    /// # Errors
    /// What passed or was refused wrongly, or was lost.
    pub async fn run(self) -> Result<Tally> {
        self.all().await.with_context(|| format!("cutting the stream, seed {}", self.seed))
    }

    async fn all(self) -> Result<Tally> {
        let site = Site::start().await?;
        let mut envoy = site.add_envoy("edge-1").await?;
        envoy.until_table().await?;
        let load = Load::start([&envoy]).await?;
        let enough = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for churn in site.churns(&load.ledger(), self.seed, KEYS_EACH) {
            clients.spawn(until_told(churn, enough.clone()));
        }
        let mut random = Random::new(self.seed);
        for _ in 0..self.cuts {
            let direction = random.pick(&[Direction::Up, Direction::Down]);
            // Some fall into the handshake, most behind it.
            let reach = random.pick(&[100, 1_000, 10_000]);
            let cut = random.pick(&[Cut::Close, Cut::Reset]);
            site.cable.set(Direction::Down, random.pick(&[Flow::Pass, Flow::Pass, LATE]));
            let cutting = site.cable.cut_after(direction, 1 + random.below(reach), cut);
            timeout(DEADLINE, cutting).await.context("nothing passed that could be cut")?;
            load.ensure_right()?;
        }
        site.cable.set(Direction::Down, Flow::Pass);
        enough.store(true, Ordering::Relaxed);
        let mut keys = Vec::new();
        while let Some(churn) = clients.join_next().await {
            keys.extend(churn??.into_keys());
        }
        site.until_acknowledged().await?;
        verify(&mut site.api(), &[&envoy], &keys).await?;
        ensure_sound(&mut envoy).await?;
        let tally = load.stop().await?;
        ensure!(tally.broken == 0 && tally.unavailable == 0, "traffic did not go on: {tally:?}");
        ensure!(site.cable.opened() > self.cuts as u64, "the filter did not come back each time");
        Ok(tally)
    }
}

async fn until_told(mut churn: Churn, enough: Arc<AtomicBool>) -> Result<Churn> {
    while !enough.load(Ordering::Relaxed) {
        churn.step().await?;
    }
    Ok(churn)
}
