//! What a request costs: no filter, one that does nothing, ours, and what people would take instead; ours with every kind of key, of
//! request and of refusal. Our table holds a million keys, the peers with plain text a thousand.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use harness::Upstream;

use crate::authorizer;
use crate::course::{self, Course, Headers, KeyFiles, Pace, Rounds, find, request};
use crate::data::{self, Data};
use crate::figure::Figure;
use crate::keys::{ABROAD, Carrier, HOME, INSIDE};
use crate::load::{Load, Order};
use crate::machine::{self, Cores};
use crate::peers;
use crate::proxy::{Plan, Proxy};
use crate::report::{Bound, Report, Table, Verdict};

/// So many keys are "many at random": more than fit a processor's cache, fewer than a worker remembers.
const RANDOM_KEYS: usize = 10_000;
/// A request that passes and is answered by an upstream, as those that a filter lets through are.
const FORWARDED: &str = "ours, forwarded";
/// The key that every worker remembers.
const HOT_KEY: &str = "ours: X-API-Key";
/// What no worker remembers: a key that passes, and one that is refused.
const EVERY_KEY: &str = "ours: every key for the first time";
const EVERY_UNKNOWN: &str = "refused: unknown keys for the first time";
/// Ours where it tells the upstream no more than it must for the rules here.
const BRIEF: &str = "ours: one identity header";

/// Measures all of it.
pub(crate) async fn measure(report: &mut Report, cores: Cores, data: &Data, pace: Pace) -> Result<()> {
    let folder = data::folder("compare")?;
    let control_plane = data.serve("compare-control-plane").await?;
    let (_authorizer, authorizer_port, authorizer_pid) = authorizer::start(&folder, data.keys).await?;
    let upstream = Upstream::start()?;
    let mut plan = plan(control_plane.sync_port(), authorizer_port)?;
    plan.forwarded = Some((forwarded_path(), upstream.port()));
    let proxy = Proxy::start(&folder, "envoy", 1, plan).await?;
    machine::pin(proxy.pid(), &[cores.measured])?;
    let token = data.keys.pair(0)?.token();
    for listener in ["ours", "brief"] {
        proxy.until_passes(listener, INSIDE, ("x-api-key", &token)).await?;
    }

    let courses = courses(&folder, data, authorizer_pid)?;
    let places = courses.iter().map(|course| proxy.place(course.listener)).collect::<Result<Vec<_>>>()?;
    let rounds = course::run(&courses, &places, pace).await?;
    report.tables.push(table(&rounds)?);
    report.verdicts.extend(verdicts(&rounds)?);
    proxy.stop().await
}

/// An Envoy with all that is compared, which answers by itself; its services have these ports.
pub(crate) fn plan(control_plane: u16, authorizer: u16) -> Result<Plan> {
    Ok(Plan {
        listeners: vec![
            ("none", Vec::new()),
            ("nothing", vec![peers::nothing()?]),
            ("ours", vec![peers::ours("compare")?]),
            ("brief", vec![peers::ours_brief("compare")?]),
            ("api_key_auth", vec![peers::api_key_auth(peers::PLAIN_KEYS)?]),
            ("lua", vec![peers::lua()?]),
            ("ext_authz", vec![peers::ext_authz()]),
        ],
        services: vec![(peers::CONTROL_PLANE, control_plane), (peers::AUTHORIZER, authorizer)],
        ..Plan::default()
    })
}

fn forwarded_path() -> String {
    format!("/v1/projects/{HOME}/forwarded")
}

fn courses(folder: &Path, data: &Data, authorizer: u32) -> Result<Vec<Course>> {
    use Carrier::{ApiKey, Basic, Bearer};
    let keys = KeyFiles { folder, keys: data.keys };
    let hot = |carrier| keys.first(1, carrier, Order::Same);
    let course = |name, listener, headers, carrier: Carrier, keys: (PathBuf, Order)| Course {
        name,
        listener,
        load: Load { request: request(INSIDE, headers, Some(carrier)), keys: Some(keys), refused: false },
        helper: (listener == "ext_authz").then_some(authorizer),
    };
    let forwarded = |name, listener| {
        let request = request(&forwarded_path(), Headers::Small, Some(ApiKey));
        let load = Load { request, keys: Some(hot(ApiKey)?), refused: false };
        Ok::<_, anyhow::Error>(Course { name, listener, load, helper: None })
    };
    let refused = |name, path: &str, keys: (PathBuf, Order)| Course {
        name,
        listener: "ours",
        load: Load { request: request(path, Headers::Small, Some(ApiKey)), keys: Some(keys), refused: true },
        helper: None,
    };
    let small = |name, listener, carrier, keys| course(name, listener, Headers::Small, carrier, keys);
    let browser = |name, listener| Ok::<_, anyhow::Error>(course(name, listener, Headers::Browser, ApiKey, hot(ApiKey)?));
    let malformed = folder.join("keys-malformed");
    std::fs::write(&malformed, format!("{}x\n", data.keys.pair(0)?.token()))?;
    // None of these is also among those that come once each.
    let random = RANDOM_KEYS.min(data.keys.count / 2);
    // The environment's key comes behind the others.
    let unknown = |count, order| keys.range(data.keys.of_environment() + 1, count, ApiKey, order);
    Ok(vec![
        small("no filter", "none", ApiKey, hot(ApiKey)?),
        small("does nothing", "nothing", ApiKey, hot(ApiKey)?),
        small(HOT_KEY, "ours", ApiKey, hot(ApiKey)?),
        small(BRIEF, "brief", ApiKey, hot(ApiKey)?),
        small("api_key_auth", "api_key_auth", ApiKey, hot(ApiKey)?),
        small("Lua", "lua", ApiKey, hot(ApiKey)?),
        small("ext_authz", "ext_authz", ApiKey, hot(ApiKey)?),
        small("ours: Bearer", "ours", Bearer, hot(Bearer)?),
        small("ours: Basic", "ours", Basic, hot(Basic)?),
        small("ours: environment key", "ours", ApiKey, keys.range(data.keys.of_environment(), 1, ApiKey, Order::Same)?),
        small("ours: 10,000 keys at random", "ours", ApiKey, keys.first(random, ApiKey, Order::Random)?),
        small(EVERY_KEY, "ours", ApiKey, keys.range(random, data.keys.count - random, ApiKey, Order::Next)?),
        forwarded("no filter, forwarded", "none")?,
        forwarded(FORWARDED, "ours")?,
        browser("no filter, browser", "none")?,
        browser("does nothing, browser", "nothing")?,
        browser("ours, browser", "ours")?,
        browser("Lua, browser", "lua")?,
        refused("refused: unknown key", INSIDE, unknown(1, Order::Same)?),
        refused(EVERY_UNKNOWN, INSIDE, unknown(data.keys.count, Order::Next)?),
        refused("refused: malformed key", INSIDE, (malformed, Order::Same)),
        refused("refused: out of scope", &format!("/v1/projects/{ABROAD}/containers"), hot(ApiKey)?),
        refused("refused: ambiguous path", &format!("/v1/projects/{ABROAD}%2f..%2f{HOME}/containers"), hot(ApiKey)?),
    ])
}

/// What a request's cost is compared with: the same request without a filter.
fn base<'r>(rounds: &'r [Rounds], of: &Rounds) -> Result<&'r Rounds> {
    match of.name.rsplit_once(", ") {
        Some((_, kind)) => find(rounds, &format!("no filter, {kind}")),
        None => find(rounds, "no filter"),
    }
}

fn table(rounds: &[Rounds]) -> Result<Table> {
    let row = |rounds_of: &Rounds| -> Result<(String, Vec<Option<Figure>>)> {
        let base = base(rounds, rounds_of)?;
        let over = (base.name != rounds_of.name).then(|| rounds_of.cpu_over(base));
        let helper = rounds_of.figure(|outcome| outcome.other_cpu_us);
        let figures = vec![
            Some(rounds_of.figure(|outcome| outcome.cpu_us)),
            over,
            (helper.value > 0.0).then_some(helper),
            Some(rounds_of.figure(|outcome| outcome.sent.per_second)),
            Some(rounds_of.figure(|outcome| outcome.sent.p50_us)),
            Some(rounds_of.figure(|outcome| outcome.sent.p99_us)),
        ];
        Ok((rounds_of.name.to_owned(), figures))
    };
    Ok(Table {
        name: "compare",
        title: "What a request costs (Envoy with one worker on one core, the load on another; 1,000,000 keys in our table, 1,000 in plain text)",
        columns: &["CPU us", "over no filter", "helper's CPU us", "requests/s", "p50 us", "p99 us"],
        rows: rounds.iter().map(row).collect::<Result<_>>()?,
    })
}

fn verdicts(rounds: &[Rounds]) -> Result<Vec<Verdict>> {
    let over = |name: &str| -> Result<Vec<f64>> {
        let own = find(rounds, name)?;
        Ok(own.each_over(base(rounds, own)?))
    };
    let ratio = |one: &[f64], two: &[f64]| Figure::of_pairs(one, two, |one, two| one / two);
    let cpu = |name: &str| Ok::<_, anyhow::Error>(find(rounds, name)?.each(|outcome| outcome.cpu_us));
    let speed = |name: &str| Ok::<_, anyhow::Error>(find(rounds, name)?.each(|outcome| outcome.sent.per_second));
    let (hot, nothing) = (over(HOT_KEY)?, over("does nothing")?);
    let dearest = |allowed: &str| -> Result<Figure> {
        let mut dearest: Option<Figure> = None;
        for refused in rounds.iter().filter(|rounds| rounds.name.starts_with("refused")) {
            // A key that no worker remembers is compared with one that passes and is not remembered either, where that was measured.
            let allowed = if refused.name == EVERY_UNKNOWN && allowed == HOT_KEY { EVERY_KEY } else { allowed };
            let found = ratio(&refused.each(|outcome| outcome.cpu_us), &cpu(allowed)?);
            dearest = dearest.filter(|dearest| dearest.value > found.value).or(Some(found));
        }
        dearest.context("no refusal was measured")
    };
    let at_most = |what, reached, must, aim| Verdict { what, reached, must: Bound::AtMost(must), aim: Bound::AtMost(aim) };
    Ok(vec![
        at_most("hot key: CPU over no filter, to the SDK's do-nothing filter's", ratio(&hot, &nothing), 1.6, 1.2),
        at_most("the same, the upstream told by one header instead of four", ratio(&over(BRIEF)?, &nothing), 1.6, 1.2),
        at_most("every key for the first time: the same", ratio(&over(EVERY_KEY)?, &nothing), 2.2, 1.8),
        at_most("CPU over no filter, to ext_authz's (Envoy alone)", ratio(&hot, &over("ext_authz")?), 1.0 / 8.0, 1.0 / 12.0),
        Verdict {
            what: "requests/s, to Lua's with a plaintext table",
            reached: ratio(&speed(HOT_KEY)?, &speed("Lua")?),
            must: Bound::None,
            aim: Bound::AtLeast(1.0),
        },
        at_most("CPU of the dearest refusal, to that of a request that reaches an upstream", dearest(FORWARDED)?, 1.0, 1.0),
        at_most("the same, to that of a request with as rare a key that Envoy answers itself", dearest(HOT_KEY)?, 1.0, 1.0),
    ])
}
