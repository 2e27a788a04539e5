//! Requests of one kind to one listener, and how several such courses are run: by turns, so that whatever else the machine does meets them
//! all alike, round by round.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::figure::{Figure, quantile};
use crate::keys::{Carrier, Keys};
use crate::load::{Load, Order, Sent};
use crate::step;
use crate::turns::{self, Measured, Turns, Used};

/// One kind of request to one listener.
pub(crate) struct Course {
    /// What it is called in tables.
    pub(crate) name: &'static str,
    /// The listener it goes to.
    pub(crate) listener: &'static str,
    pub(crate) load: Load,
    /// A process that works for Envoy here.
    pub(crate) helper: Option<u32>,
}

/// The rounds of one course.
pub(crate) struct Rounds {
    pub(crate) name: &'static str,
    outcomes: Vec<Outcome>,
}

/// Where a course is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) port: u16,
    /// The Envoy that listens there.
    pub(crate) process: u32,
}

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) rounds: usize,
    /// Turns that each course has in each round.
    pub(crate) turns: u32,
    /// How long a turn is.
    pub(crate) turn: Duration,
}

/// What came of one round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) sent: Sent,
    /// What the measured process used for one request.
    pub(crate) cpu_us: f64,
    /// What a process beside it used for one request; zero without one.
    pub(crate) other_cpu_us: f64,
}

/// Runs all courses, each at its place, by turns.
pub(crate) async fn run(courses: &[Course], places: &[Place], pace: Pace) -> Result<Vec<Rounds>> {
    let mut found: Vec<Rounds> = courses.iter().map(|course| Rounds { name: course.name, outcomes: Vec::new() }).collect();
    // Courses that use every key once go on where they stopped.
    let mut used = vec![0; courses.len()];
    for round in 0..=pace.rounds {
        // Before the first round comes another, in which caches fill.
        let turns = Turns { takers: u32::try_from(courses.len())?, count: pace.turns, length: pace.turn };
        let outcomes = run_round(courses, places, &used, turns).await?;
        for ((outcome, rounds), used) in outcomes.into_iter().zip(&mut found).zip(&mut used) {
            *used += outcome.sent.requests as usize + MARGIN;
            if round > 0 {
                rounds.outcomes.push(outcome);
            }
        }
    }
    Ok(found)
}

async fn run_round(courses: &[Course], places: &[Place], used: &[usize], turns: Turns) -> Result<Vec<Outcome>> {
    let mut senders = Vec::new();
    for ((course, place), used) in courses.iter().zip(places).zip(used) {
        let sender = course.load.prepare(place.port, *used, &turns).await;
        senders.push(sender.with_context(|| format!("preparing {:?}", course.name))?);
    }
    let firsts = turns.announce()?;
    let first = *firsts.first().context("nothing to measure")?;
    let measured: Vec<Measured> = courses.iter().zip(places).map(|(course, place)| (place.process, course.helper)).collect();
    let watched = tokio::task::spawn_blocking(move || turns.watch(first, &measured));
    // All at once: each waits for its own turns.
    let sending: Vec<_> = senders.into_iter().zip(firsts).map(|(sender, first)| tokio::spawn(sender.send(first))).collect();
    let mut sent = Vec::new();
    for (sending, course) in sending.into_iter().zip(courses) {
        let outcome = sending.await?.with_context(|| format!("measuring {:?}", course.name))?;
        if outcome.late > turns::ANSWERED {
            // Some of what it used counts as the next one's. Once is nothing among so many turns.
            step(&format!("{:?} was answered {} ms after a turn", course.name, outcome.late.as_millis()));
        }
        sent.push(outcome);
    }
    let each = |(sent, (own, other)): (Sent, Used)| Outcome {
        sent,
        cpu_us: own * 1e6 / sent.requests,
        other_cpu_us: other * 1e6 / sent.requests,
    };
    Ok(sent.into_iter().zip(watched.await??).map(each).collect())
}

/// More requests than can be under way and uncounted when a round ends.
const MARGIN: usize = 100;

impl Rounds {
    /// One number of each round.
    pub(crate) fn each(&self, number: impl Fn(&Outcome) -> f64) -> Vec<f64> {
        self.outcomes.iter().map(number).collect()
    }

    /// That number's median.
    pub(crate) fn figure(&self, number: impl Fn(&Outcome) -> f64) -> Figure {
        Figure::of(&self.each(number))
    }

    /// What a request costs more here than on another course, in each round: how many times as much, at what that one usually costs. What
    /// slows the machine for a while slows both.
    pub(crate) fn each_over(&self, base: &Self) -> Vec<f64> {
        let (own, base) = (self.each(|outcome| outcome.cpu_us), base.each(|outcome| outcome.cpu_us));
        let usual = quantile(&base, 0.5);
        own.iter().zip(&base).map(|(own, base)| (own / base - 1.0) * usual).collect()
    }

    /// That, altogether.
    pub(crate) fn cpu_over(&self, base: &Self) -> Figure {
        Figure::of(&self.each_over(base))
    }
}

/// The rounds of a course by its name.
pub(crate) fn find<'r>(rounds: &'r [Rounds], name: &str) -> Result<&'r Rounds> {
    rounds.iter().find(|rounds| rounds.name == name).with_context(|| format!("there is no course {name:?}"))
}

/// What comes with a request besides its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Headers {
    /// What a command-line client sends.
    Small,
    /// What a browser sends: 14 headers, 1.2 kB.
    Browser,
}

const SMALL: &str = "Host: edge.example.org\r\nUser-Agent: curl/8.14.1\r\nAccept: */*\r\n";

const BROWSER: &str = concat!(
    "Host: edge.example.org\r\n",
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8\r\n",
    "Accept-Encoding: gzip, deflate, br, zstd\r\n",
    "Accept-Language: en-GB,en-US;q=0.9,en;q=0.8,de;q=0.7\r\n",
    "Cache-Control: max-age=0\r\n",
    "Sec-Ch-Ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\", \"Google Chrome\";v=\"140\"\r\n",
    "Sec-Ch-Ua-Mobile: ?0\r\n",
    "Sec-Ch-Ua-Platform: \"Linux\"\r\n",
    "Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: same-origin\r\n",
    "Referer: https://edge.example.org/env/1a5/apps/stacks?which=all&sort=name&order=ascending\r\n",
    "Cookie: _ga=GA1.2.1234567890.1767225600; _gid=GA1.2.987654321.1767225600; theme=dark; lang=en-gb; ",
    "consent=eyJhbmFseXRpY3MiOnRydWUsIm1hcmtldGluZyI6ZmFsc2UsInZlcnNpb24iOjN9; ",
    "prefs=eyJzaWRlYmFyIjoiY29sbGFwc2VkIiwidGFibGUiOnsic2l6ZSI6NTAsInNvcnQiOiJuYW1lIn0sImRpc21pc3NlZCI6WzEsMiwzXX0\r\n",
);

impl Headers {
    fn text(self) -> &'static str {
        match self {
            Self::Small => SMALL,
            Self::Browser => BROWSER,
        }
    }
}

/// A GET of a path, with the header of a carrier if there is one.
pub(crate) fn request(path: &str, headers: Headers, carrier: Option<Carrier>) -> String {
    let key = carrier.map(|carrier| format!("{}: @KEY@\r\n", carrier.header())).unwrap_or_default();
    format!("GET {path} HTTP/1.1\r\n{}{key}\r\n", headers.text())
}

/// Files of keys for the load, made once each.
pub(crate) struct KeyFiles<'f> {
    pub(crate) folder: &'f Path,
    pub(crate) keys: Keys,
}

impl KeyFiles<'_> {
    /// The first so many keys in some order.
    pub(crate) fn first(&self, count: usize, carrier: Carrier, order: Order) -> Result<(PathBuf, Order)> {
        self.range(0, count, carrier, order)
    }

    /// So many keys from one on. Those behind the last are keys that nobody knows.
    pub(crate) fn range(&self, first: usize, count: usize, carrier: Carrier, order: Order) -> Result<(PathBuf, Order)> {
        let path = self.folder.join(format!("keys-{carrier:?}-{first}-{count}"));
        if !path.exists() {
            self.keys.write(&path, first..first + count, carrier)?;
        }
        Ok((path, order))
    }
}
