//! `make soak`: hostile requests by the million, then faults by the thousand, through real Envoy, then whatever a tester of APIs makes up.
//! `soak requests`, `soak faults` and `soak api` run one of them. The environment says how many and which: REQUESTS, CUTS, KEYS, CHANGES,
//! API_SECONDS and SEED.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use harness::Tester;
use harness::faults::{Changes, Cuts, Snapshots};
use harness::soak::Soak;
use tokio::time::timeout;

const REQUESTS: u64 = 1_000_000;
const CUTS: u64 = 500;
const KEYS: u64 = 50_000;
const CHANGES: u64 = 100_000;
/// How often the control plane is killed in the middle of each of two snapshots.
const KILLS: usize = 10;
/// As an admin, and as a user.
const API_SECONDS: u64 = 300;
const LIMIT: Duration = Duration::from_secs(15 * 60);

#[tokio::main]
async fn main() -> ExitCode {
    match soak(std::env::args().nth(1).as_deref()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn soak(part: Option<&str>) -> Result<()> {
    let today = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let seed = number("SEED", today)?;
    println!("SEED={seed}, at most {} s for each part", LIMIT.as_secs());
    match part {
        None => {
            requests(seed).await?;
            faults(seed).await?;
            api(seed).await
        }
        Some("requests") => requests(seed).await,
        Some("faults") => faults(seed).await,
        Some("api") => api(seed).await,
        Some(other) => bail!("there is no part {other:?}, only requests, faults and api"),
    }
}

async fn requests(seed: u64) -> Result<()> {
    let soak = Soak { requests: number("REQUESTS", REQUESTS)?, seed, limit: LIMIT };
    println!("{} requests", soak.requests);
    println!("{}", soak.run().await?);
    Ok(())
}

async fn faults(seed: u64) -> Result<()> {
    let cuts = Cuts { cuts: size("CUTS", CUTS)?, seed };
    println!("the stream is cut {} times while keys change", cuts.cuts);
    println!("{}", timeout(LIMIT, cuts.run()).await.context("not done in time")??);
    let snapshots = Snapshots { keys: size("KEYS", KEYS)?, kills: KILLS, seed };
    println!("the control plane is killed {} times in the middle of a snapshot of {} keys", 2 * KILLS, snapshots.keys);
    println!("{}", timeout(LIMIT, snapshots.run()).await.context("not done in time")??);
    let changes = Changes { changes: size("CHANGES", CHANGES)?, seed };
    println!("{} random changes", changes.changes);
    println!("{}", timeout(LIMIT, changes.run()).await.context("not done in time")??);
    Ok(())
}

async fn api(seed: u64) -> Result<()> {
    let tester = Tester { each: Duration::from_secs(number("API_SECONDS", API_SECONDS)?), seed };
    println!("/openapi.json is tried for {} s as an admin and as a user", tester.each.as_secs());
    print!("{}", tester.run().await?);
    Ok(())
}

fn size(name: &str, default: u64) -> Result<usize> {
    Ok(number(name, default)?.try_into()?)
}

/// A number from the environment.
fn number(name: &str, default: u64) -> Result<u64> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}={text} is no number")),
        Err(_) => Ok(default),
    }
}
