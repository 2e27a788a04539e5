//! Whose turn it is. What others do on the machine slows it for a millisecond as well as for minutes, and by as much: what is to be
//! compared takes turns so short that all meet the same, and so many that they even out. Owns when turns are, and what processor time
//! is used within each; never sends anything.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};

use crate::machine;

/// Between two turns: requests that are under way are answered, and nothing else happens.
const PAUSE: Duration = Duration::from_millis(8);
/// Of that, until everything is answered.
pub(crate) const ANSWERED: Duration = Duration::from_millis(6);
/// More than a clock that is kept right drifts in a round; one that was set would have put one's turns into another's.
const MOST_DRIFT: Duration = Duration::from_millis(50);

/// The turns of several, which follow each other in one order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turns {
    pub(crate) takers: u32,
    /// How many each has.
    pub(crate) count: u32,
    pub(crate) length: Duration,
}

/// Processes whose processor time is counted in one's turns: the one that is measured, and one that works for it.
pub(crate) type Measured = (u32, Option<u32>);

/// What those used, in seconds.
pub(crate) type Used = (f64, f64);

impl Turns {
    /// From when the first turn is known until it comes.
    pub(crate) const NOTICE: Duration = Duration::from_millis(500);

    /// From one turn to the same one's next.
    pub(crate) fn period(&self) -> Duration {
        self.slot() * self.takers
    }

    /// From the first turn until all are over.
    pub(crate) fn whole(&self) -> Duration {
        self.period() * self.count
    }

    fn slot(&self) -> Duration {
        self.length + PAUSE
    }

    /// When the first turn of each is, in milliseconds since 1970, if the very first is not long from now.
    pub(crate) fn announce(&self) -> Result<Vec<u64>> {
        let first = u64::try_from((SystemTime::now().duration_since(UNIX_EPOCH)? + Self::NOTICE).as_millis())?;
        let slot = u64::try_from(self.slot().as_millis())?;
        Ok((0..u64::from(self.takers)).map(|taker| first + taker * slot).collect())
    }

    /// Counts what the processes of each use in its turns, until all are over. Blocks.
    pub(crate) fn watch(&self, first_ms: u64, measured: &[Measured]) -> Result<Vec<Used>> {
        let (began, began_at) = (Instant::now(), SystemTime::now());
        let mut slot = UNIX_EPOCH + Duration::from_millis(first_ms);
        let mut all = vec![(0.0, 0.0); measured.len()];
        // Everything is still between two turns.
        sleep_until(slot - (PAUSE - ANSWERED));
        for _ in 0..self.count {
            for (processes, sum) in measured.iter().zip(&mut all) {
                let before = used(*processes)?;
                sleep_until(slot + self.length + ANSWERED);
                let after = used(*processes)?;
                *sum = (sum.0 + after.0 - before.0, sum.1 + after.1 - before.1);
                slot += self.slot();
            }
        }
        let (passed, by_wall_clock) = (began.elapsed(), began_at.elapsed().unwrap_or_default());
        ensure!(passed.abs_diff(by_wall_clock) < MOST_DRIFT, "the clock was set while this was measured: measure again");
        Ok(all)
    }
}

fn used((process, other): Measured) -> Result<Used> {
    Ok((machine::cpu_seconds(process)?, other.map_or(Ok(0.0), machine::cpu_seconds)?))
}

fn sleep_until(moment: SystemTime) {
    // A moment that has passed is now.
    thread::sleep(moment.duration_since(SystemTime::now()).unwrap_or_default());
}
