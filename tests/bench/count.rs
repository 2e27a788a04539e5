//! What a request costs, counted in instructions, which nobody else on the machine changes: Envoy runs under callgrind, fifty times as
//! slow, with one worker and one connection. Instructions are not time, so no target is held against them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::{Connection, Protocol, loopback, until};
use tokio::process::Command;

use crate::compare;
use crate::data::{self, Data};
use crate::figure::Figure;
use crate::keys::{HOME, Keys};
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
    keys: Order,
}

/// Whose keys they carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// Always the same.
    Same,
    /// Each its own.
    Next,
    /// Each its own, and nobody knows it.
    Unknown,
}

/// Measures all of it.
pub(crate) async fn measure(report: &mut Report, cores: Cores, extent: Extent) -> Result<()> {
    let folder = data::folder("count")?;
    let data = Data::fill(KEYS).await?;
    let control_plane = data.serve("count-control-plane").await?;
    let (_authorizer, authorizer_port, _) = compare::start_authorizer(&folder, &data).await?;
    let plan = compare::plan(control_plane.sync_port(), authorizer_port)?;
    let counts = Counts { prefix: folder.join("callgrind") };
    let mut proxy = Proxy::launch(&folder, "envoy", 1, plan, &counts.command())?;
    machine::pin(proxy.pid(), &[cores.measured])?;
    let listeners = ["none", "nothing", "ours", "brief", "api_key_auth", "lua", "ext_authz"];
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
    Ok(connection.get(&path(), &[("x-api-key", token)]).await?.status == 200)
}

fn path() -> String {
    format!("/v1/projects/{HOME}/containers")
}

fn courses() -> Vec<Course> {
    let course = |name, listener, keys| Course { name, listener, keys };
    vec![
        course("no filter", "none", Order::Same),
        course("does nothing", "nothing", Order::Same),
        course("ours: X-API-Key", "ours", Order::Same),
        course("ours: one identity header", "brief", Order::Same),
        course("ours: every key for the first time", "ours", Order::Next),
        course("refused: unknown key", "ours", Order::Unknown),
        course("api_key_auth", "api_key_auth", Order::Same),
        course("Lua", "lua", Order::Same),
        course("ext_authz", "ext_authz", Order::Same),
    ]
}

impl Course {
    /// Sends so many requests one after the other; the first is the one of this number.
    async fn run(&self, connection: &mut Connection, first: usize, count: usize) -> Result<()> {
        let expected = if self.keys == Order::Unknown { 401 } else { 200 };
        for number in first..first + count {
            let key = match self.keys {
                Order::Same => 0,
                Order::Next => number,
                Order::Unknown => KEYS.count + 1 + number,
            };
            let token = KEYS.pair(key)?.token();
            let headers = [("user-agent", "curl/8.14.1"), ("accept", "*/*"), ("x-api-key", token.as_str())];
            let answer = connection.get(&path(), &headers).await?;
            ensure!(answer.status == expected, "{}: {} instead of {expected}", self.name, answer.status);
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
