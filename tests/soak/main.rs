//! `make soak`: a million hostile requests through real Envoy. REQUESTS and SEED say how many and which.

use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use harness::soak::Soak;

const REQUESTS: u64 = 1_000_000;
const LIMIT: Duration = Duration::from_secs(15 * 60);

#[tokio::main]
async fn main() -> ExitCode {
    match soak().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn soak() -> Result<()> {
    let today = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let soak = Soak { requests: number("REQUESTS", REQUESTS)?, seed: number("SEED", today)?, limit: LIMIT };
    println!("{} requests, SEED={}, at most {} s", soak.requests, soak.seed, soak.limit.as_secs());
    println!("{}", soak.run().await?);
    Ok(())
}

/// A number from the environment.
fn number(name: &str, default: u64) -> Result<u64> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}={text} is no number")),
        Err(_) => Ok(default),
    }
}
