//! `make bench`: what a request costs, how that grows, how long a revoked key lives and what the control plane takes, beside the
//! alternatives, all on this machine. Prints tables and which targets are met; leaves JSON and plots in tests/bench.
//!
//! It asserts nothing about time, and CI does not run it: what it must never do is measure wrong answers, so every request's status is
//! looked at.

mod api;
mod authorizer;
mod ceiling;
mod compare;
mod count;
mod course;
mod data;
mod echo;
mod figure;
mod fleet;
mod growth;
mod grpc;
mod keys;
mod load;
mod machine;
mod peers;
mod plot;
mod proxy;
mod pulse;
mod report;
mod revocation;
mod storage;
mod turns;

use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use harness::{module, project};

use crate::course::Pace;
use crate::data::Data;
use crate::figure::Figure;
use crate::keys::Keys;
use crate::machine::Cores;
use crate::report::{Bound, Report, Verdict};

fn main() -> ExitCode {
    match start() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match arguments.as_slice() {
        // This program is also the services that others are measured with.
        ["authorizer", port, keys] => runtime()?.block_on(authorizer::serve(port.parse()?, Keys { count: keys.parse()? })),
        ["echo", port] => runtime()?.block_on(echo::serve(port.parse()?)),
        options => {
            let options = Options::read(options)?;
            let cores = Cores::find()?;
            // Before any thread is started, which would stay where it is.
            cores.settle()?;
            runtime()?.block_on(measure(&options, cores))
        }
    }
}

/// What is measured, and how thoroughly.
struct Options {
    quick: bool,
    ten_million: bool,
    /// Only these parts, if any are named.
    parts: Vec<String>,
}

const PARTS: [&str; 5] = ["compare", "instructions", "growth", "revocation", "control-plane"];

impl Options {
    fn read(arguments: &[&str]) -> Result<Self> {
        let mut options = Self { quick: false, ten_million: false, parts: Vec::new() };
        for argument in arguments {
            match *argument {
                "--quick" => options.quick = true,
                "--ten-million" => options.ten_million = true,
                part if PARTS.contains(&part) => options.parts.push(part.to_owned()),
                other => bail!("{other:?} is neither --quick nor --ten-million nor one of the parts {}", PARTS.join(", ")),
            }
        }
        Ok(options)
    }

    /// What to type for the same again.
    fn command(&self) -> String {
        let flags = [(self.quick, "--quick"), (self.ten_million, "--ten-million")];
        let flags = flags.into_iter().filter(|(given, _)| *given).map(|(_, flag)| flag);
        let arguments: Vec<&str> = flags.chain(self.parts.iter().map(String::as_str)).collect();
        if arguments.is_empty() { "make bench".to_owned() } else { format!("make bench BENCH=\"{}\"", arguments.join(" ")) }
    }

    fn wants(&self, part: &str) -> bool {
        self.parts.is_empty() || self.parts.iter().any(|wanted| wanted == part)
    }
}

/// So short that the machine is much the same in the turns of all, so long that what begins and ends one hardly counts.
const TURN: Duration = Duration::from_millis(20);

/// How much of everything.
struct Scale {
    pace: Pace,
    count: count::Extent,
    growth: growth::Extent,
    revocations: usize,
    disabled_accounts: usize,
    storage: Duration,
    proxies: usize,
    tellings: usize,
}

impl Scale {
    fn of(options: &Options) -> Self {
        if options.quick {
            let quick = Pace { rounds: 1, turns: 10, turn: TURN };
            return Self {
                pace: quick,
                count: count::Extent { before: 20, counted: 20 },
                growth: growth::Extent { counts: vec![1_000, 20_000], loads: 2, changes: 20_000, pace: quick },
                revocations: 10,
                disabled_accounts: 1,
                storage: Duration::from_secs(1),
                proxies: 100,
                tellings: 3,
            };
        }
        let counts = [1_000, 10_000, 100_000, 1_000_000].into_iter().chain(options.ten_million.then_some(10_000_000)).collect();
        Self {
            pace: Pace { rounds: 8, turns: 32, turn: TURN },
            count: count::Extent { before: 1_500, counted: 300 },
            // What differs by size is larger than what differs by round.
            growth: growth::Extent { counts, loads: 7, changes: 1_000_000, pace: Pace { rounds: 5, turns: 32, turn: TURN } },
            revocations: 200,
            disabled_accounts: 5,
            storage: Duration::from_secs(5),
            proxies: 1000,
            tellings: 20,
        }
    }
}

fn module_size() -> Result<Verdict> {
    let path = module()?;
    let size = std::fs::metadata(&path).with_context(|| format!("looking at {}", path.display()))?.len();
    let (must, aim) = (Bound::AtMost(250.0), Bound::AtMost(150.0));
    Ok(Verdict { what: "the module's size, in kB", reached: Figure::once(size as f64 / 1e3), must, aim })
}

/// Tells who waits what is being done, and for how long it has run so far.
pub(crate) fn step(what: &str) {
    static START: OnceLock<Instant> = OnceLock::new();
    eprintln!("bench: {:>4} s  {what}", START.get_or_init(Instant::now).elapsed().as_secs());
}

async fn measure(options: &Options, cores: Cores) -> Result<()> {
    let scale = Scale::of(options);
    let mut report = Report { command: options.command(), quick: options.quick, tables: Vec::new(), verdicts: Vec::new() };
    step("making keys");
    let many = Data::fill(Keys { count: if options.quick { 20_000 } else { 1_000_000 } }).await?;
    if options.wants("compare") {
        step("comparing filters");
        compare::measure(&mut report, cores, &many, scale.pace).await.context("comparing filters")?;
        report.verdicts.push(module_size()?);
    }
    if options.wants("instructions") {
        step("counting instructions");
        count::measure(&mut report, cores, scale.count).await.context("counting instructions")?;
    }
    if options.wants("growth") {
        growth::measure(&mut report, cores, &many, &scale.growth).await.context("growing")?;
        ceiling::measure(&mut report, cores, scale.growth.pace.rounds).await.context("reading shared data")?;
    }
    if options.wants("revocation") {
        step("revoking");
        revocation::measure(&mut report, cores, &many, scale.revocations, scale.disabled_accounts).await.context("revoking")?;
    }
    if options.wants("control-plane") {
        step("changing, and telling proxies");
        storage::measure(&mut report, cores, &many, scale.storage).await.context("changing")?;
        fleet::measure(&mut report, cores, &many, scale.proxies, scale.tellings).await.context("telling proxies")?;
    }
    // What is in git is of whole runs only.
    let whole = !options.quick && options.parts.is_empty();
    let folder = project().join(if whole { "tests/bench" } else { "var/bench" });
    report.write(&folder)?;
    plot::write(&report, &folder)?;
    print!("{report}");
    eprintln!("bench: this, as JSON too, and plots are in {}", folder.display());
    Ok(())
}
