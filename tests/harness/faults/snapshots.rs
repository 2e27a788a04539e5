//! The control plane is killed in the middle of a snapshot, again and again: of the first one of an Envoy, and of one that overwrites
//! its table, because an older state was put back.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::{Site, ensure_sound, verify};
use crate::hostile::Random;
use crate::{Cut, Direction, Done, Envoy, Flow, Key, Load, Tally, Verdict, until};

/// About what one key takes in a snapshot.
const BYTES_A_KEY: usize = 40;
/// Keys that are inactive; they and as many others are asked with all the time.
const INACTIVE: usize = 40;
/// Keys that only the newer state knows, and keys that only the older one lets pass.
const DIFFERENT: usize = 20;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Snapshots {
    /// How many keys the table holds: at least 3,000, so that its snapshot is more than one message long.
    pub keys: usize,
    /// How often each of the two snapshots is interrupted.
    pub kills: usize,
    /// The same seed draws the same moments.
    pub seed: u64,
}

impl Snapshots {
    /// Runs it.
    ///
    /// # Errors
    /// What passed or was refused wrongly, or was lost.
    pub async fn run(self) -> Result<Tally> {
        self.all().await.with_context(|| format!("killing the control plane in the middle of snapshots, seed {}", self.seed))
    }

    async fn all(self) -> Result<Tally> {
        let mut random = Random::new(self.seed);
        let mut site = Site::start().await?;
        let mut keys = site.create_keys(self.keys).await?;
        let mut api = site.api();
        for key in keys.iter().step_by(2 * self.gap()) {
            api.key_action(key, "deactivate", 0).await?;
        }
        site.cable.set(Direction::Down, self.slow());
        let mut envoy = site.add_envoy("edge-1").await?;
        let load = Load::start([&envoy]).await?;
        for (number, key) in keys.iter().step_by(self.gap()).enumerate() {
            load.ledger().expect(key, if number % 2 == 0 { Verdict::Refuse } else { Verdict::Pass });
        }
        self.interrupt(&mut site, &envoy, 0, &mut random).await?;
        ensure!(load.tally().passed == 0, "something passed without a table");
        site.cable.set(Direction::Down, Flow::Pass);
        envoy.until_table().await?;
        verify(&mut site.api(), &[&envoy], &keys).await?;
        load.ensure_right()?;

        let closed = load.tally().unavailable;
        ensure!(closed > 0, "nothing was refused while there was no table");
        self.go_back(&mut site, &envoy, &load, &mut keys, &mut random).await?;
        verify(&mut site.api(), &[&envoy], &keys).await?;
        ensure_sound(&mut envoy).await?;
        let tally = load.stop().await?;
        ensure!(tally.broken == 0 && tally.unavailable == closed, "traffic did not go on: {tally:?}");
        Ok(tally)
    }

    /// Changes things, puts the state of before back, and kills the control plane while it brings that to Envoy.
    async fn go_back(self, site: &mut Site, envoy: &Envoy, load: &Load, keys: &mut Vec<Key>, random: &mut Random) -> Result<()> {
        site.control_plane.stop().await?;
        let data = site.control_plane.data().to_owned();
        let aside = data.with_file_name("before");
        copy_files(&data, &aside)?;
        site.control_plane.serve().await?;
        // Not among those that are inactive or asked with already.
        let revoked: Vec<Key> = keys.iter().skip(1).step_by(self.gap()).take(DIFFERENT).cloned().collect();
        let mut api = site.api();
        for key in &revoked {
            load.ledger().expect(key, Verdict::Either);
            let done = api.key_action(key, "deactivate", 30).await?;
            ensure!(done == Done::Everywhere, "not acknowledged: {done:?}");
            load.ledger().expect(key, Verdict::Refuse);
        }
        let created = site.create_keys(DIFFERENT).await?;
        site.until_acknowledged().await?;
        verify(&mut site.api(), &[envoy], &created).await?;

        site.control_plane.stop().await?;
        for key in &revoked {
            load.ledger().expect(key, Verdict::Either);
        }
        std::fs::remove_dir_all(&data)?;
        copy_files(&aside, &data)?;
        site.cable.set(Direction::Down, self.slow());
        let begun = times(envoy, BEGUN);
        site.control_plane.serve().await?;
        self.interrupt(site, envoy, begun, random).await?;
        site.cable.set(Direction::Down, Flow::Pass);
        site.until_acknowledged().await?;
        for key in &revoked {
            load.ledger().expect(key, Verdict::Pass);
        }
        for key in &created {
            load.ledger().expect(key, Verdict::Refuse);
        }
        keys.extend(created);
        Ok(())
    }

    /// Kills the control plane several times while a snapshot is under way, and starts it again each time. So many had begun before.
    async fn interrupt(self, site: &mut Site, envoy: &Envoy, mut begun: usize, random: &mut Random) -> Result<()> {
        let finished = times(envoy, FINISHED);
        for _ in 0..self.kills {
            until("a snapshot to begin", async || Ok((times(envoy, BEGUN) > begun).then_some(()))).await?;
            let start = site.cable.passed(Direction::Down);
            let share = random.below(self.bytes() * 3 / 4) as u64;
            until("some of the snapshot to pass", async || {
                Ok((site.cable.passed(Direction::Down) >= start + share).then_some(()))
            })
            .await?;
            site.control_plane.kill();
            // What it had written to its socket is lost, too.
            site.cable.cut(Cut::Reset);
            ensure!(times(envoy, FINISHED) == finished, "the snapshot was over before the control plane was killed");
            begun = times(envoy, BEGUN);
            site.control_plane.serve().await?;
        }
        Ok(())
    }

    /// Between two keys that are asked with.
    fn gap(self) -> usize {
        self.keys / INACTIVE / 2
    }

    fn bytes(self) -> usize {
        self.keys * BYTES_A_KEY
    }

    /// A snapshot takes two seconds.
    fn slow(self) -> Flow {
        Flow::Slow { bytes_per_second: self.bytes() / 2 }
    }
}

/// What the filter logs.
const BEGUN: &str = "keygate: receiving the table";
const FINISHED: &str = "keygate: the table is at";

fn times(envoy: &Envoy, line: &str) -> usize {
    envoy.log().matches(line).count()
}

fn copy_files(from: &Path, to: &PathBuf) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for file in std::fs::read_dir(from)? {
        let file = file?;
        std::fs::copy(file.path(), to.join(file.file_name()))?;
    }
    Ok(())
}
