//! How many reads of shared data one Envoy can do in a second: one lock guards it for all workers, so that more of them need not help. No
//! core is kept for the load here, which is a handful of requests that each read very often.

use std::time::Duration;

use anyhow::Result;

use crate::course::{self, Course, Headers, Pace, request};
use crate::data;
use crate::load::Load;
use crate::machine::{self, Cores};
use crate::peers;
use crate::proxy::{Plan, Proxy};
use crate::report::{Report, Table};

const READS: u32 = 2000;
/// One that nobody takes turns with.
const TURN: Duration = Duration::from_secs(1);
const WORKERS: [(&str, usize); 3] = [("1 worker", 1), ("2 workers", 2), ("4 workers", 4)];

/// Measures it with 1, 2 and 4 workers.
pub(crate) async fn measure(report: &mut Report, cores: Cores, rounds: usize) -> Result<()> {
    let folder = data::folder("ceiling")?;
    let pace = Pace { rounds, turns: 1, turn: TURN };
    let mut rows = Vec::new();
    for (name, workers) in WORKERS {
        let plan = Plan { listeners: vec![("reads", vec![peers::reads(READS)?])], ..Plan::default() };
        let proxy = Proxy::start(&folder, "envoy", workers, plan).await?;
        machine::pin(proxy.pid(), &[cores.measured, cores.load])?;
        let load = Load { request: request("/", Headers::Small, None), keys: None, refused: false };
        let course = Course { name, listener: "reads", load, helper: None };
        let rounds = course::run(&[course], &[proxy.place("reads")?], pace).await?;
        let reads = rounds.iter().map(|rounds| Some(rounds.figure(|outcome| outcome.sent.per_second * f64::from(READS) / 1e3)));
        rows.push((name.to_owned(), reads.collect()));
        proxy.stop().await?;
    }
    report.tables.push(Table {
        name: "ceiling",
        title: "Reads of shared data in a second, by the whole of one Envoy on all cores",
        columns: &["1000 reads/s"],
        rows,
    });
    Ok(())
}
