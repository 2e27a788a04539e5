//! What the control plane takes with very many keys stored: creations and revocations by many clients at once, each answered only when it
//! is on disk, beside how often the same disk can be made to write.

use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use harness::ControlPlane;
use tokio::task::JoinSet;

use crate::api::Api;
use crate::data::{self, Data};
use crate::figure::{Figure, quantile};
use crate::machine::{self, Cores};
use crate::report::{Bound, Report, Table, Verdict};

const CLIENTS: usize = 64;
/// About what one creation adds to the database's log.
const BLOCK: [u8; 4096] = [0; 4096];

/// Measures each for so long.
pub(crate) async fn measure(report: &mut Report, cores: Cores, data: &Data, duration: Duration) -> Result<()> {
    let mut control_plane = data.serve("storage-control-plane").await?;
    machine::pin(control_plane.process()?.id(), &[cores.measured])?;
    let syncs = syncs_per_second(duration)?;
    let mut api = Api::open(&control_plane).await?;
    let before = api.commits().await?;
    let created = work(&control_plane, duration, Work::Create).await?;
    let after = api.commits().await?;
    let in_a_commit = (after.0 - before.0) / (after.1 - before.1);
    let revoked = work(&control_plane, duration, Work::Revoke).await?;
    // Once more, for the disk may have been slower before than after.
    let syncs = Figure::of(&[syncs, syncs_per_second(duration)?]);
    let resident = machine::resident_bytes(control_plane.process()?.id())?;

    let row = |name: &str, done: &Done| {
        let latency = |part: f64| Some(Figure::once(quantile(&done.latencies_ms, part)));
        let figures = vec![Some(Figure::once(done.per_second)), latency(0.5), latency(0.99)];
        (name.to_owned(), figures)
    };
    report.tables.push(Table {
        name: "storage",
        title: "Durable changes by 64 clients, and writes of 4 kB that the same disk confirms one by one",
        columns: &["per second", "p50 ms", "p99 ms"],
        rows: vec![
            row("keys created", &created),
            row("keys revoked", &revoked),
            ("raw fsync".to_owned(), vec![Some(syncs), None, None]),
            ("creations that shared one commit, on average".to_owned(), vec![Some(Figure::once(in_a_commit)), None, None]),
            ("the control plane's memory, in MB".to_owned(), vec![Some(Figure::once(resident / 1e6)), None, None]),
        ],
    });
    report.verdicts.push(Verdict {
        what: "durable creations/s, to raw fsync/s",
        reached: Figure { value: created.per_second / syncs.value, spread: syncs.spread },
        must: Bound::AtLeast(5.0),
        aim: Bound::AtLeast(20.0),
    });
    Ok(())
}

/// How often in a second the disk can be made to write what was appended to a file.
fn syncs_per_second(duration: Duration) -> Result<f64> {
    let path = data::folder("syncs")?.join("log");
    let mut file = File::create(&path).with_context(|| format!("making {}", path.display()))?;
    let started = Instant::now();
    let mut count = 0.0;
    while started.elapsed() < duration {
        file.write_all(&BLOCK)?;
        file.sync_data()?;
        count += 1.0;
    }
    Ok(count / started.elapsed().as_secs_f64())
}

#[derive(Clone, Copy)]
enum Work {
    Create,
    Revoke,
}

struct Done {
    per_second: f64,
    latencies_ms: Vec<f64>,
}

/// Lets all clients work, each on one change after the other, until the time is over.
async fn work(control_plane: &ControlPlane, duration: Duration, work: Work) -> Result<Done> {
    let over = Arc::new(AtomicBool::new(false));
    let mut apis = Vec::new();
    for client in 0..CLIENTS {
        apis.push((client, Api::open(control_plane).await?));
    }
    let started = Instant::now();
    let mut clients = JoinSet::new();
    for (client, mut api) in apis {
        let over = Arc::clone(&over);
        clients.spawn(async move {
            let mut latencies = Vec::new();
            let mut key = client;
            while !over.load(Ordering::Relaxed) {
                let change = match work {
                    Work::Create => api.create_key(0, false).await?.0,
                    Work::Revoke => api.deactivate_key(u64::try_from(data::key_id(key))?, false).await?,
                };
                key += CLIENTS;
                latencies.push(change.took().as_secs_f64() * 1e3);
            }
            anyhow::Ok(latencies)
        });
    }
    tokio::time::sleep(duration).await;
    over.store(true, Ordering::Relaxed);
    let mut latencies_ms = Vec::new();
    while let Some(client) = clients.join_next().await {
        latencies_ms.extend(client??);
    }
    Ok(Done { per_second: latencies_ms.len() as f64 / started.elapsed().as_secs_f64(), latencies_ms })
}
