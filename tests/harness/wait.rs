//! Waiting for something to be so: by looking, with a deadline, never by a pause that was long enough on some machine.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long anything may take before waiting for it is given up. Generous: a slow machine must not fail a test.
pub const DEADLINE: Duration = Duration::from_secs(30);

const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Asks `probe` again and again until it has an answer. An error of the probe ends the wait at once; the deadline ends it
/// with an error that says `what` was awaited.
pub async fn until<T>(what: &str, mut probe: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let started = Instant::now();
    loop {
        let answer = probe().await.with_context(|| format!("waiting for {what}"))?;
        if let Some(answer) = answer {
            return Ok(answer);
        }
        if started.elapsed() > DEADLINE {
            bail!("waited {DEADLINE:?} in vain for {what}");
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
