//! The vectors in `tests/vectors`: each case is decided natively, by the crates the filter is made of, and by the filter's module in
//! real Envoy. Both must give the expected answer, and so must the explanation. Paths and headers travel as raw bytes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use harness::{Config, Connection, ControlPlane, Envoy, Protocol, Upstream, project, raw};
use keygate_decision::explain::Route;
use keygate_decision::{
    Access, AccountId, Decision, Digest, EnvironmentId, Grant, Header, Holder, KeyId, Permit, Policy, Reach, Reason, Screening,
    TargetKind, UnixSeconds,
};
use keygate_wire::FilterConfig;
use serde::Deserialize;
use serde_json::Value;

use crate::world::{World, as_created, invented_pair};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "about")]
    _about: String,
    cases: Vec<Case>,
}

/// One request and its answer.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    status: u16,
    /// What the upstream must see of these headers; null for those it must not see.
    #[serde(default)]
    upstream: BTreeMap<String, Option<String>>,
}

fn folder() -> PathBuf {
    project().join("tests/vectors")
}

/// The filter's configuration of all vectors.
pub(crate) fn filter() -> Result<String> {
    Ok(std::fs::read_to_string(folder().join("filter.json"))?)
}

fn cases() -> Result<Vec<Case>> {
    let mut cases = Vec::new();
    for entry in std::fs::read_dir(folder())? {
        let path = entry?.path();
        if path.ends_with("filter.json") {
            continue;
        }
        let text = std::fs::read_to_string(&path)?;
        let file: File = serde_json::from_str(&text).with_context(|| format!("reading {}", path.display()))?;
        cases.extend(file.cases);
    }
    ensure!(cases.len() >= 500, "only {} cases were found", cases.len());
    Ok(cases)
}

const PROTOCOLS: [Protocol; 2] = [Protocol::Http1, Protocol::Http2];

impl Case {
    fn can_be_http2(&self) -> bool {
        self.path.parse::<axum::http::Uri>().is_ok() && !self.headers.iter().any(|(name, _)| name == "connection")
    }

    /// Hands over the case's header map as Envoy would.
    fn with_headers<T>(&self, read: impl FnOnce(&[Header<'_>]) -> T) -> T {
        let lower: Vec<(String, &str)> = self.headers.iter().map(|(name, value)| (name.to_lowercase(), value.as_str())).collect();
        let pseudo = [(":method", self.method.as_str()), (":path", self.path.as_str())];
        let all = pseudo.into_iter().chain(lower.iter().map(|(name, value)| (name.as_str(), *value)));
        let all: Vec<Header<'_>> = all.map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        read(&all)
    }

    /// The case with every `${name.part}` filled in.
    fn filled(&self, world: &World) -> Result<Self> {
        let mut case = self.clone();
        case.path = world.fill(&case.path)?;
        for (_, value) in &mut case.headers {
            *value = world.fill(value)?;
        }
        for expected in case.upstream.values_mut().flatten() {
            *expected = world.fill(expected)?;
        }
        Ok(case)
    }
}

#[test]
fn every_vector_natively() -> Result<()> {
    let policy = FilterConfig::parse(filter()?.as_bytes())?.policy;
    let (world, table) = native_world()?;
    let mut wrong = Vec::new();
    for case in cases()? {
        let case = case.filled(&world)?;
        let answer = answer_natively(&policy, &table, &case);
        let (explained, because) = answer_as_explained(&policy, &table, &case);
        if explained != answer {
            wrong.push(format!("{}: explained as {explained:?} {because}, but decided as {answer:?}", case.name));
        }
        if answer.status() != case.status {
            wrong.push(format!("{}: {} instead of {}", case.name, answer.status(), case.status));
        }
        for (name, told) in answer.told() {
            if case.status == 200 && case.upstream.get(name).is_some_and(|expected| told != *expected) {
                wrong.push(format!("{}: {name} is {told:?}", case.name));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_vector_in_real_envoy() -> Result<()> {
    let upstream = Upstream::start()?;
    let control_plane = ControlPlane::start().await?;
    let world = World::create(&control_plane).await?;
    let mut config = Config::new(upstream.port(), control_plane.sync_port())?;
    config.filter = filter()?;
    // The filter must do without Envoy's help.
    config.edits = vec![
        ("normalize_path: true", "normalize_path: false"),
        ("headers_with_underscores_action: REJECT_REQUEST", "headers_with_underscores_action: ALLOW"),
    ];
    let envoy = Envoy::start(&config).await?;
    envoy.until_table().await?;

    try_every_vector(&envoy, &upstream, &world, &PROTOCOLS).await
}

/// Sends every case by each protocol, and compares with the native answer.
pub(crate) async fn try_every_vector(envoy: &Envoy, upstream: &Upstream, world: &World, protocols: &[Protocol]) -> Result<()> {
    let policy = FilterConfig::parse(filter()?.as_bytes())?.policy;
    let (native_world, table) = native_world()?;
    let mut wrong = Vec::new();
    let mut sent = [0, 0];
    let all = cases()?;
    for (case, protocol) in all.iter().flat_map(|case| protocols.iter().map(move |protocol| (case, *protocol))) {
        let natively = answer_natively(&policy, &table, &case.filled(&native_world)?);
        let case = case.filled(world)?;
        let reached_before = upstream.received();
        let answer = match protocol {
            Protocol::Http1 => send_raw(envoy, &case).await?,
            Protocol::Http2 if case.can_be_http2() => send_http2(envoy, &case).await?,
            Protocol::Http2 => continue,
        };
        sent[usize::from(protocol == Protocol::Http2)] += 1;
        if answer.status != case.status {
            wrong.push(format!("{}: {} instead of {}: {}", case.name, answer.status, case.status, answer.body));
            continue;
        }
        ensure!((upstream.received() > reached_before) == (answer.status == 200), "{}: did it reach the upstream?", case.name);
        // Envoy answers HEAD without a body.
        if let Answer::Refused(reason) = natively
            && answer.body != reason.body()
            && case.method != "HEAD"
        {
            wrong.push(format!("{}: the body is {}", case.name, answer.body));
        }
        for (name, expected) in &case.upstream {
            let seen = answer.seen(name)?;
            if !seen.iter().eq(expected) {
                wrong.push(format!("{}: the upstream saw {name} as {seen:?}", case.name));
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    // A few paths cannot be said in HTTP/2 by this client, and upgrades are another thing there.
    let by_http2 = !protocols.contains(&Protocol::Http2) || sent[1] * 10 > all.len() * 8;
    ensure!(sent[0] == all.len() && by_http2, "sent {sent:?} of {} cases", all.len());
    Ok(())
}

type Table = BTreeMap<Digest, Grant>;

/// The same world without a control plane: the grants it would compile, under invented keys.
fn native_world() -> Result<(World, Table)> {
    let mut world = World::empty();
    let mut table = Table::new();
    let environment = |id: &str| EnvironmentId::parse(id);
    let alice = Holder::Account {
        account: AccountId(2),
        limited: false,
        reach: Reach::only([(environment("1a5")?.reference(), Access::Write), (environment("1a6")?.reference(), Access::Read)]),
    };
    world.set("admin.account", "1");
    world.set("alice.account", "2");
    for (number, name) in (1..).zip(World::KEYS) {
        let pair = invented_pair(number);
        world.add(name, &as_created(&number.to_string(), &pair));
        let (holder, expires_at) = match name {
            "admin" => (Holder::Account { account: AccountId(1), limited: false, reach: Reach::All }, None),
            "alice" => (alice.clone(), None),
            "expired" => (alice.clone(), Some(UnixSeconds(1))),
            "production" => (Holder::Environment(environment("1a5")?), None),
            "staging" => (Holder::Environment(environment("1a6")?), None),
            _ => continue,
        };
        table.insert(pair.digest(), Grant { key: KeyId(number.into()), holder, expires_at });
    }
    Ok((world, table))
}

/// What the filter would do.
#[derive(Debug, PartialEq)]
enum Answer {
    Passed,
    PassedAs(Permit),
    PassedInShadow(Reason),
    Refused(Reason),
    /// An explanation says one thing of the rules and another of the answer.
    Contradicted,
}

impl Answer {
    fn status(&self) -> u16 {
        match self {
            Self::Refused(reason) => reason.status(),
            _ => 200,
        }
    }

    /// What the upstream would be told.
    fn told(&self) -> [(&'static str, Option<String>); 5] {
        let permit = if let Self::PassedAs(permit) = self { Some(permit) } else { None };
        let shadow = if let Self::PassedInShadow(reason) = self { Some(reason.code().to_owned()) } else { None };
        [
            ("x-keygate-key", permit.map(|permit| permit.key().0.to_string())),
            ("x-keygate-account", permit.and_then(|permit| permit.account()).map(|id| id.0.to_string())),
            ("x-keygate-environment", permit.and_then(|permit| permit.environment()).map(ToString::to_string)),
            ("x-keygate-access", permit.map(|permit| permit.access().as_str().to_owned())),
            ("x-keygate-shadow", shadow),
        ]
    }
}

fn answer_natively(policy: &Policy, table: &Table, case: &Case) -> Answer {
    case.with_headers(|headers| answer_to(policy.screen(&policy.read(headers.iter().copied())), table))
}

/// As `keygate filter explain` tells it, with what it says of the rules; both must say the same.
fn answer_as_explained(policy: &Policy, table: &Table, case: &Case) -> (Answer, String) {
    case.with_headers(|headers| {
        let explanation = policy.explain(headers);
        let because = format!("{:?} {:?}", explanation.route, explanation.environment);
        let public = |index: usize| policy.rules.get(index).is_some_and(|rule| rule.kind == TargetKind::Public);
        let route = explanation.route;
        let answer = answer_to(explanation.screening, table);
        let agrees = match route {
            Route::Ambiguous(_) => answer == Answer::Refused(Reason::AmbiguousPath),
            Route::By(index) => public(index) == (answer == Answer::Passed),
            Route::Overruled(..) | Route::Nowhere => !matches!(answer, Answer::Passed | Answer::PassedAs(_)),
        };
        if agrees { (answer, because) } else { (Answer::Contradicted, because) }
    })
}

fn answer_to(screening: Screening, table: &Table) -> Answer {
    match screening {
        Screening::Refuse(reason) => Answer::Refused(reason),
        Screening::Pass { .. } => Answer::Passed,
        Screening::Check(check) => {
            let grant = check.digest().ok().and_then(|digest| table.get(&digest));
            match check.decide(grant, UnixSeconds(1_000)) {
                Decision::Allow(permit) => Answer::PassedAs(permit),
                Decision::Deny(reason) if check.is_shadowed() && matches!(reason.status(), 401 | 403) => {
                    Answer::PassedInShadow(reason)
                }
                Decision::Deny(reason) => Answer::Refused(reason),
            }
        }
    }
}

struct RawAnswer {
    status: u16,
    body: String,
}

impl RawAnswer {
    /// The values of a header that reached the upstream, `:path` included.
    fn seen(&self, name: &str) -> Result<Vec<String>> {
        let echo: Value = serde_json::from_str(&self.body).with_context(|| format!("reading {}", self.body))?;
        if name == ":path" {
            return Ok(echo["path"].as_str().map(str::to_owned).into_iter().collect());
        }
        let headers = echo["headers"].as_array().context("an echo without headers")?;
        let values = headers.iter().filter(|header| header[0] == name).filter_map(|header| header[1].as_str());
        Ok(values.map(str::to_owned).collect())
    }
}

async fn send_http2(envoy: &Envoy, case: &Case) -> Result<RawAnswer> {
    let headers: Vec<(String, &str)> = case.headers.iter().map(|(name, value)| (name.to_lowercase(), value.as_str())).collect();
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    let mut connection = Connection::open(envoy.edge(), Protocol::Http2).await?;
    let answer = connection.send(&case.method, &case.path, &headers, "").await;
    let answer = answer.with_context(|| format!("sending {} by HTTP/2", case.name))?;
    Ok(RawAnswer { status: answer.status, body: answer.text() })
}

async fn send_raw(envoy: &Envoy, case: &Case) -> Result<RawAnswer> {
    let mut request = format!("{} {} HTTP/1.1\r\nhost: edge\r\n", case.method, case.path);
    if !case.headers.iter().any(|(name, _)| name == "connection") {
        request.push_str("connection: close\r\n");
    }
    for (name, value) in &case.headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    let answer = raw(envoy.edge(), request.as_bytes()).await.with_context(|| format!("sending {}", case.name))?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("{}: no answer: {answer}", case.name))?;
    let status = head.split(' ').nth(1).context("no status")?.parse()?;
    Ok(RawAnswer { status, body: body.to_owned() })
}
