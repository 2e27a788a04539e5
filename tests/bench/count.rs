//! What a request costs, counted in instructions, which nobody else on the machine changes: Envoy runs under callgrind, fifty times as
//! slow, with one worker and one connection. Instructions are not time, so no target is held against them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Connection, Protocol, loopback, until};
use tokio::process::Command;

use crate::authorizer;
use crate::compare;
use crate::data::{self, Data};
use crate::figure::Figure;
use crate::keys::{INSIDE, Keys};
use crate::machine::{self, Cores};
use crate::proxy::Proxy;
use crate::report::{Report, Table};

/// Few: to get a table takes fifty times as long, too, and what a request costs hardly depends on how many there are.
const KEYS: Keys = Keys { count: 10_000 };
/// Until Envoy has a table and its listeners let requests pass.
const STARTING: Duration = Duration::from_secs(240);

/// How many requests of each kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Extent {
    /// Before any is counted: until what they run is compiled for good, and caches are full.
    pub(crate) before: usize,
    /// In each of two rounds.
    pub(crate) counted: usize,
}

/// Requests that are counted.
struct Course {
    name: &'static str,
    listener: &'static str,
    /// The number of the key that each carries, by its own number.
    key: fn(usize) -> usize,
    status: u16,
}

/// Measures all of it.
pub(crate) async fn measure(report: &mut Report, cores: Cores, extent: Extent) -> Result<()> {
    let folder = data::folder("count")?;
    let data = Data::fill(KEYS).await?;
    let control_plane = data.serve("count-control-plane").await?;
    let (_authorizer, authorizer_port, _) = authorizer::start(&folder, data.keys).await?;
    let plan = compare::plan(control_plane.sync_port(), authorizer_port)?;
    let listeners: Vec<&str> = plan.listeners.iter().map(|(name, _)| *name).collect();
    let counts = Counts { prefix: folder.join("callgrind") };
    let mut proxy = Proxy::launch(&folder, "envoy", 1, plan, &counts.command())?;
    machine::pin(proxy.pid(), &[cores.measured])?;
    tokio::time::timeout(STARTING, until_all_pass(&mut proxy, &listeners))
        .await
        .context("waiting for Envoy under callgrind")??;

    let mut rows = Vec::new();
    for course in courses() {
        let mut connection = Connection::open(loopback(proxy.port(course.listener)?), Protocol::Http1).await?;
        course.run(&mut connection, 0, extent.before).await?;
        let mut rounds = Vec::new();
        for round in 0..2 {
            counts.zero(proxy.pid()).await?;
            course.run(&mut connection, extent.before + round * extent.counted, extent.counted).await?;
            rounds.push(counts.read(proxy.pid()).await? / extent.counted as f64);
        }
        rows.push((course.name, Figure::of(&rounds)));
    }
    proxy.kill();
    report.tables.push(table(&rows)?);
    Ok(())
}

async fn until_all_pass(proxy: &mut Proxy, listeners: &[&str]) -> Result<()> {
    let token = KEYS.pair(0)?.token();
    for listener in listeners {
        let port = proxy.port(listener)?;
        while !passes(port, &token).await.unwrap_or(false) {
            proxy.ensure_running()?;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(())
}

async fn passes(port: u16, token: &str) -> Result<bool> {
    let mut connection = Connection::open(loopback(port), Protocol::Http1).await?;
    Ok(connection.get(INSIDE, &[("x-api-key", token)]).await?.status == 200)
}

fn courses() -> Vec<Course> {
    let hot = |name, listener| Course { name, listener, key: |_| 0, status: 200 };
    vec![
        hot("no filter", "none"),
        hot("does nothing", "nothing"),
        hot("ours: X-API-Key", "ours"),
        hot("ours: one identity header", "brief"),
        Course { name: "ours: every key for the first time", listener: "ours", key: |number| number, status: 200 },
        Course { name: "refused: unknown key", listener: "ours", key: |_| KEYS.of_environment() + 1, status: 401 },
        Course {
            name: "refused: unknown keys for the first time",
            listener: "ours",
            key: |number| KEYS.of_environment() + 2 + number,
            status: 401,
        },
        hot("api_key_auth", "api_key_auth"),
        hot("Lua", "lua"),
        hot("ext_authz", "ext_authz"),
    ]
}

impl Course {
    /// Sends so many requests one after the other; the first is the one of this number.
    async fn run(&self, connection: &mut Connection, first: usize, count: usize) -> Result<()> {
        for number in first..first + count {
            let token = KEYS.pair((self.key)(number))?.token();
            let headers = [("user-agent", "curl/8.14.1"), ("accept", "*/*"), ("x-api-key", token.as_str())];
            let status = connection.get(INSIDE, &headers).await?.status;
            ensure!(status == self.status, "{}: {status} instead of {}", self.name, self.status);
        }
        Ok(())
    }
}

/// Callgrind's files, one for each time that it was asked.
struct Counts {
    prefix: PathBuf,
}

impl Counts {
    /// What runs a program under it. A module's code comes and goes at run time.
    fn command(&self) -> Vec<String> {
        let out = format!("--callgrind-out-file={}", self.prefix.display());
        ["valgrind", "--tool=callgrind", "--smc-check=all-non-file", "--fair-sched=yes", &out].map(str::to_owned).to_vec()
    }

    /// Begins to count anew.
    async fn zero(&self, pid: u32) -> Result<()> {
        control("--zero", pid).await
    }

    /// The instructions since then.
    async fn read(&self, pid: u32) -> Result<f64> {
        let before = self.files()?;
        control("--dump", pid).await?;
        let new = until("callgrind's file", async || {
            let now = self.files()?;
            Ok(now.into_iter().find(|file| !before.contains(file)))
        });
        total(&new.await?).await
    }

    fn files(&self) -> Result<Vec<PathBuf>> {
        let folder = self.prefix.parent().context("a folder")?;
        let files = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
        let is_count = |file: &PathBuf| file.to_string_lossy().starts_with(&*self.prefix.to_string_lossy());
        Ok(files.into_iter().filter(is_count).collect())
    }
}

async fn control(what: &str, pid: u32) -> Result<()> {
    let output = Command::new("callgrind_control").args([what, &pid.to_string()]).output().await;
    let output = output.context("running callgrind_control: envoy/setup.sh bench brings it")?;
    ensure!(output.status.success(), "callgrind_control {what}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// The sum in a file, which ends with it.
async fn total(file: &Path) -> Result<f64> {
    let total = until("the end of callgrind's file", async || {
        let text = fs::read_to_string(file)?;
        Ok(text.lines().rev().find_map(|line| line.strip_prefix("totals:")).map(|total| total.trim().to_owned()))
    });
    let total = total.await?;
    total.parse().with_context(|| format!("reading callgrind's {total:?}"))
}

fn table(counts: &[(&'static str, Figure)]) -> Result<Table> {
    let find = |wanted: &str| {
        let found = counts.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, figure)| figure.value).with_context(|| format!("nothing was counted for {wanted:?}"))
    };
    let base = find("no filter")?;
    let nothing = find("does nothing")? - base;
    let row = |(name, figure): &(&'static str, Figure)| {
        let over = figure.value - base;
        let more = |value: f64| (over != 0.0).then(|| Figure::once(value));
        ((*name).to_owned(), vec![Some(*figure), more(over), more(over / nothing)])
    };
    Ok(Table {
        name: "count",
        title: "The same in instructions of Envoy, counted by callgrind for one request after the other; 10,000 keys in our table",
        columns: &["instructions", "over no filter", "to what does nothing adds"],
        rows: counts.iter().map(row).collect(),
    })
}
