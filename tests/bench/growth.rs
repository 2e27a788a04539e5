//! How everything grows with the number of keys: until a table is enforced, memory, what a request costs, and how requests fare while the
//! table is loaded; beside `api_key_auth` with as many keys.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use harness::ControlPlane;
use keygate_decision::Digest;
use tokio::task::JoinSet;

use crate::api::Api;
use crate::course::{self, Course, Headers, KeyFiles, Pace, Rounds, find, request};
use crate::data::{self, Data};
use crate::figure::{Figure, quantile};
use crate::keys::{Carrier, INSIDE, Keys};
use crate::load::{Load, Order};
use crate::machine::{self, Cores};
use crate::peers;
use crate::proxy::{Plan, Proxy};
use crate::pulse::{Beat, Pulse};
use crate::report::{Bound, Report, Table, Verdict};
use crate::step;

const CONNECTIONS: usize = 8;
const LOADED: Duration = Duration::from_secs(120);
/// Enough for the 65,536 keys that a worker remembers, also on a machine that does 15,000 requests a second.
const FILLING: Duration = Duration::from_secs(5);
const QUIET: Duration = Duration::from_secs(1);
/// `api_key_auth` is not asked for more: its configuration alone would take gigabytes. Nor are the targets about more.
const PLAIN_MOST: usize = 1_000_000;
/// Accounts that are switched off and on at a time, so that changes share transactions.
const AT_ONCE: usize = 8;

/// What one number of keys comes to.
struct Size {
    keys: usize,
    enforced_ms: Figure,
    resident: f64,
    resident_changed: f64,
    control_plane: f64,
    p99_loading: Figure,
    p99_quiet: Figure,
    /// How many times the one is the other, load by load.
    p99_slower: Figure,
    cost: Cost,
    plain: Option<Plain>,
}

/// What a request takes of Envoy over one without a filter, in each round.
struct Cost {
    hot_us: Vec<f64>,
    random_us: Vec<f64>,
}

/// How an Envoy got its table.
struct Loading {
    enforced_ms: f64,
    p99_us: f64,
    /// Once it was there.
    p99_quiet_us: f64,
}

/// What `api_key_auth` comes to.
struct Plain {
    start_ms: f64,
    resident: f64,
    cpu_us: Figure,
}

/// How much of everything.
#[derive(Debug)]
pub(crate) struct Extent {
    /// The numbers of keys, in order.
    pub(crate) counts: Vec<usize>,
    /// How often each table is loaded, into a fresh Envoy.
    pub(crate) loads: usize,
    /// Random ones that follow.
    pub(crate) changes: usize,
    pub(crate) pace: Pace,
}

/// Measures each number of keys.
pub(crate) async fn measure(report: &mut Report, cores: Cores, many: &Data, extent: &Extent) -> Result<()> {
    let mut few = Vec::new();
    for count in extent.counts.iter().filter(|count| **count != many.keys.count) {
        few.push(Data::fill(Keys { count: *count }).await?);
    }
    let mut all: Vec<&Data> = few.iter().chain([many]).collect();
    all.sort_by_key(|data| data.keys.count);
    let mut tables = Vec::new();
    for data in all {
        step(&format!("growing: loads {}", data.described()));
        tables.push(InForce::load(cores, data, extent.loads).await.with_context(|| data.described())?);
    }
    step("growing: requests");
    let costs = request_costs(&tables, extent.pace).await?;
    let mut sizes = Vec::new();
    for (table, cost) in tables.into_iter().zip(costs) {
        let described = table.data.described();
        step(&format!("growing: changes {described}"));
        sizes.push(table.finish(cores, cost, extent).await.context(described)?);
    }
    report.tables.push(table(&sizes));
    report.verdicts.extend(verdicts(&sizes)?);
    Ok(())
}

/// A table that is in force, who sends it, and what was found on the way there.
struct InForce<'d> {
    data: &'d Data,
    folder: PathBuf,
    control_plane: ControlPlane,
    /// The last that it was loaded into.
    proxy: Proxy,
    loads: Vec<Loading>,
    resident: f64,
    control_plane_resident: f64,
}

impl<'d> InForce<'d> {
    async fn load(cores: Cores, data: &'d Data, loads: usize) -> Result<Self> {
        let folder = data::folder(&format!("growth-{}", data.keys.count))?;
        let mut control_plane = data.serve(&format!("growth-control-plane-{}", data.keys.count)).await?;
        machine::give_way(control_plane.process()?.id())?;
        let (mut proxy, first) = load(cores, data, &mut control_plane, &folder).await?;
        let mut loaded = vec![first];
        for _ in 1..loads {
            proxy.stop().await?;
            let (next, again) = load(cores, data, &mut control_plane, &folder).await?;
            proxy = next;
            loaded.push(again);
        }
        fill_memory(data, &folder, &proxy).await?;
        let resident = machine::resident_bytes(proxy.pid())?;
        let control_plane_resident = machine::resident_bytes(control_plane.process()?.id())?;
        Ok(Self { data, folder, control_plane, proxy, loads: loaded, resident, control_plane_resident })
    }

    /// Changes the table, ends who has it, and puts the peer beside it.
    async fn finish(mut self, cores: Cores, cost: Cost, extent: &Extent) -> Result<Size> {
        change(&self.control_plane, self.data.keys, extent.changes).await?;
        let resident_changed = machine::resident_bytes(self.proxy.pid())?;
        self.proxy.stop().await?;
        self.control_plane.kill();
        let keys = self.data.keys.count;
        step(&format!("growing: api_key_auth {}", self.data.described()));
        let plain = if keys <= PLAIN_MOST { Some(measure_plain(cores, self.data, extent.pace).await?) } else { None };
        let of_loads = |value: fn(&Loading) -> f64| Figure::of(&self.loads.iter().map(value).collect::<Vec<_>>());
        Ok(Size {
            keys,
            enforced_ms: of_loads(|load| load.enforced_ms),
            resident: self.resident,
            resident_changed,
            control_plane: self.control_plane_resident,
            p99_loading: of_loads(|load| load.p99_us),
            p99_quiet: of_loads(|load| load.p99_quiet_us),
            p99_slower: of_loads(|load| load.p99_us / load.p99_quiet_us),
            cost,
            plain,
        })
    }
}

/// What a request costs by each of the tables, all of them in turn: between the first and the last lies too much time to compare them else.
async fn request_costs(tables: &[InForce<'_>], pace: Pace) -> Result<Vec<Cost>> {
    let mut courses = Vec::new();
    let mut places = Vec::new();
    for table in tables {
        for course in table_courses(table.data, &table.folder)? {
            places.push(table.proxy.place(course.listener)?);
            courses.push(course);
        }
    }
    let rounds = course::run(&courses, &places, pace).await?;
    let of_table = |rounds: &[Rounds]| {
        let over = |name: &str| Ok::<_, anyhow::Error>(find(rounds, name)?.each_over(find(rounds, "none")?));
        Ok(Cost { hot_us: over("hot")?, random_us: over("random")? })
    };
    rounds.chunks(courses.len() / tables.len().max(1)).map(of_table).collect()
}

/// Sends as many keys as a worker remembers, so that those at random find it as it is in the long run.
async fn fill_memory(data: &Data, folder: &Path, proxy: &Proxy) -> Result<()> {
    let course = course("filling", "ours", data, folder, Order::Next)?;
    course::run(&[course], &[proxy.place("ours")?], Pace { rounds: 0, turns: 1, turn: FILLING }).await?;
    Ok(())
}

/// Starts an Envoy, to which a table is then sent while it serves requests.
async fn load(cores: Cores, data: &Data, control_plane: &mut ControlPlane, folder: &Path) -> Result<(Proxy, Loading)> {
    let plan = Plan {
        listeners: vec![("none", Vec::new()), ("ours", vec![peers::ours("growth")?])],
        services: vec![(peers::CONTROL_PLANE, control_plane.sync_port())],
        ..Plan::default()
    };
    let before = streams_opened(control_plane)?.len();
    let proxy = Proxy::start(folder, "envoy", 1, plan).await?;
    machine::pin(proxy.pid(), &[cores.measured])?;
    // By a public rule: it passes before there is a table, too.
    let pulse = Pulse::start(&[proxy.port("ours")?], CONNECTIONS, request("/public/x", Headers::Small, None))?;
    let key = Pulse::start(&[proxy.port("ours")?], 1, hot_request(data)?)?;
    wait_for(&key, LOADED).await?;
    let enforced = first_pass(&key.stop()?)?;
    let new = streams_opened(control_plane)?.split_off(before);
    let &[opened] = new.as_slice() else { bail!("{} streams were opened until the table was there", new.len()) };
    let loaded = Instant::now();
    tokio::time::sleep(QUIET).await;
    let beats = pulse.stop()?;
    let p99 = |from: Instant, to: Instant| {
        let within = beats.iter().filter(|beat| beat.answered >= from && beat.sent < to);
        quantile(&within.map(Beat::latency_us).collect::<Vec<_>>(), 0.99)
    };
    let enforced_ms = enforced.saturating_duration_since(opened).as_secs_f64() * 1e3;
    Ok((proxy, Loading { enforced_ms, p99_us: p99(opened, enforced), p99_quiet_us: p99(loaded, loaded + QUIET) }))
}

async fn measure_plain(cores: Cores, data: &Data, pace: Pace) -> Result<Plain> {
    let folder = data::folder("growth-plain")?;
    let plan =
        Plan { listeners: vec![("none", Vec::new()), ("plain", vec![peers::api_key_auth(data.keys)?])], ..Plan::default() };
    let proxy = Proxy::start(&folder, "envoy", 1, plan).await?;
    machine::pin(proxy.pid(), &[cores.measured])?;
    proxy.until_passes("plain", INSIDE, ("x-api-key", &data.keys.pair(0)?.token())).await?;
    let start_ms = proxy.started_in()?.as_secs_f64() * 1e3;
    let courses = [course("none", "none", data, &folder, Order::Same)?, course("random", "plain", data, &folder, Order::Random)?];
    let rounds = course::run(&courses, &[proxy.place("none")?, proxy.place("plain")?], pace).await?;
    let cpu_us = find(&rounds, "random")?.cpu_over(find(&rounds, "none")?);
    let resident = machine::resident_bytes(proxy.pid())?;
    proxy.stop().await?;
    Ok(Plain { start_ms, resident, cpu_us })
}

fn hot_request(data: &Data) -> Result<String> {
    Ok(request(INSIDE, Headers::Small, Some(Carrier::ApiKey)).replace("@KEY@", &data.keys.pair(0)?.token()))
}

fn table_courses(data: &Data, folder: &Path) -> Result<Vec<Course>> {
    let of = |name, listener, order| course(name, listener, data, folder, order);
    Ok(vec![of("none", "none", Order::Same)?, of("hot", "ours", Order::Same)?, of("random", "ours", Order::Random)?])
}

fn course(name: &'static str, listener: &'static str, data: &Data, folder: &Path, order: Order) -> Result<Course> {
    let count = if order == Order::Same { 1 } else { data.keys.count };
    let keys = KeyFiles { folder, keys: data.keys }.first(count, Carrier::ApiKey, order)?;
    let request = request(INSIDE, Headers::Small, Some(Carrier::ApiKey));
    Ok(Course { name, listener, load: Load { request, keys: Some(keys), refused: false }, helper: None })
}

/// Waits until a pulse is answered with 200.
async fn wait_for(pulse: &Pulse, patience: Duration) -> Result<()> {
    let passes = async {
        while !pulse.all_see(0, 200)? {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(patience, passes).await.context("waiting for the table")?
}

fn first_pass(beats: &[Beat]) -> Result<Instant> {
    beats.iter().filter(|beat| beat.passed()).map(|beat| beat.answered).min().context("no request passed")
}

/// When the control plane says that filters' streams were opened.
fn streams_opened(control_plane: &mut ControlPlane) -> Result<Vec<Instant>> {
    let moment = |line: &str| {
        let time = line.split_whitespace().next().unwrap_or_default();
        let ago = SystemTime::now().duration_since(humantime::parse_rfc3339(time)?)?;
        Instant::now().checked_sub(ago).context("before this machine was started")
    };
    let log = control_plane.process()?.log();
    log.lines().filter(|line| line.contains("a stream has opened")).map(moment).collect()
}

/// Switches accounts off and on at random until so many grants have changed, and waits until the proxy has them all.
async fn change(control_plane: &ControlPlane, keys: Keys, changes: usize) -> Result<()> {
    let clients = AT_ONCE.min(keys.accounts());
    // Each client has accounts of its own, so that none is switched off twice.
    let own = keys.accounts() / clients;
    let rounds = changes.div_ceil(2 * clients * (keys.count / keys.accounts()));
    let mut running = JoinSet::new();
    for client in 0..clients {
        let mut api = Api::open(control_plane).await?;
        running.spawn(async move {
            for round in 0..rounds {
                let [random, ..] = *Digest::of(&format!("{client} {round}")).as_bytes();
                let account = client + clients * (usize::from(random) % own);
                api.switch_account(account, false, false).await?;
                api.switch_account(account, true, false).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    Api::open(control_plane).await?.create_key(0, true).await?;
    Ok(())
}

fn table(sizes: &[Size]) -> Table {
    let row = |size: &Size| {
        let mb = |bytes: f64| Some(Figure::once(bytes / 1e6));
        let plain = |value: fn(&Plain) -> Figure| size.plain.as_ref().map(value);
        let figures = vec![
            Some(size.enforced_ms),
            mb(size.resident),
            mb(size.resident_changed),
            Some(Figure::of(&size.cost.hot_us)),
            Some(Figure::of(&size.cost.random_us)),
            Some(size.p99_quiet),
            Some(size.p99_loading),
            mb(size.control_plane),
            plain(|plain| Figure::once(plain.start_ms)),
            plain(|plain| Figure::once(plain.resident / 1e6)),
            plain(|plain| plain.cpu_us),
        ];
        (size.keys.to_string(), figures)
    };
    Table {
        name: "growth",
        title: "How it grows with the number of keys (ours, and on the right api_key_auth; CPU is over no filter)",
        columns: &[
            "enforced ms",
            "Envoy MB",
            "after changes",
            "hot CPU us",
            "all keys CPU us",
            "p99 us quiet",
            "p99 us loading",
            "keygate MB",
            "starts ms",
            "its MB",
            "its CPU us",
        ],
        rows: sizes.iter().map(row).collect(),
    }
}

fn verdicts(sizes: &[Size]) -> Result<Vec<Verdict>> {
    let least = sizes.first().context("no size")?;
    let beside_plain = sizes.iter().rev().find_map(|size| Some((size, size.plain.as_ref()?)));
    let (most, plain) = beside_plain.context("no size beside api_key_auth")?;
    let at_most =
        |what, reached: Figure, must, aim| Verdict { what, reached, must: Bound::AtMost(must), aim: Bound::AtMost(aim) };
    let once = Figure::once;
    let to_fewest = |cost: fn(&Cost) -> &[f64]| Figure::of_pairs(cost(&most.cost), cost(&least.cost), |most, least| most / least);
    let memory = (most.resident - least.resident) / (most.keys - least.keys) as f64;
    Ok(vec![
        at_most("hot key: CPU over no filter, most keys to fewest", to_fewest(|cost| &cost.hot_us), 1.3, 1.1),
        at_most("all keys at random: the same", to_fewest(|cost| &cost.random_us), 1.3, 1.1),
        at_most("most keys: connect to enforced, to api_key_auth's start", most.enforced_ms.part_of(plain.start_ms), 0.1, 0.04),
        at_most("memory for each key, in bytes", once(memory), 110.0, 80.0),
        at_most("p99 while most keys load, to quiet", most.p99_slower, 3.0, 1.5),
        at_most("the control plane with most keys, in MB", once(most.control_plane / 1e6), 500.0, 250.0),
    ])
}
