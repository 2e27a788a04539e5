//! The filter's shortcuts (headers left out unread, rulings and grants remembered) against the plain reading of a request, for every
//! preset and for a configuration with all kinds of carriers and places: whatever comes before, verdict and forwarded headers are the same.

use std::collections::HashMap;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keygate_decision::credentials::Credentials;
use keygate_decision::fingerprint::FingerprintKey;
use keygate_decision::grants::Grants;
use keygate_decision::request::is_forbidden_header;
use keygate_decision::rulings::Rulings;
use keygate_decision::watch::Watch;
use keygate_decision::{
    Access, AccountId, Decision, Demand, Digest, EnvironmentId, Grant, Header, Holder, KeyId, Policy, Reach, Reason, Ruling,
    UnixSeconds,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::FilterConfig;

const ENVIRONMENTS: [&str; 3] = ["1a5", "1a6", "4"];
const NOW: UnixSeconds = UnixSeconds(1_000);
const LONG: &str = "x-a.very_long-name-of-sixty-four-bytes-or-so-it-is-said-by-many9";

fn configuration(index: usize) -> Value {
    let mut config = json!({"proxy": "edge-1", "control_plane": {"cluster": "keygate"}});
    match super::NAMES.get(index) {
        Some(name) => config["preset"] = json!(name),
        None => {
            config["carriers"] = json!([
                "basic:by",
                "basic:someone",
                "bearer",
                "bare",
                "header:k",
                "header:k9",
                "header:x.own_key",
                format!("header:{LONG}"),
                "cookie:token",
                "query:token"
            ]);
            config["strip"] =
                json!(["basic", "header:kab-*", "header:impersonate-*", "header:x-custom_claim-*", "cookie:old", "query:old"]);
            config["environment_places"] = json!([
                "header:x_project",
                "opaque:x-unknown-id",
                "basic:someone",
                "query:project",
                "query:both:*",
                "host:0",
                "json:filters.project"
            ]);
            config["shadow"] = json!(true);
            config["environment_prefix"] = json!(if index == 3 { "" } else { "1" });
            config["rules"] = json!([
                {"path": "/open", "target": "public"},
                {"path": "/open/keeps/**", "target": "public", "keep_credentials": true},
                {"path": "/p/{environment}/**", "target": "environment", "shadow": false},
                {"path": "/mine", "target": "own", "keep_credentials": true, "shadow": false},
                {"path": "/here/**", "methods": ["GET", "POST"], "target": "environment", "shadow": false},
                {"path": "/here/**", "methods": ["DELETE"], "target": "account", "access": "write"},
                {"path": "/all/**", "target": "admin"},
            ]);
        }
    }
    config
}

/// Header names that may mean something, and some that do not; to be spelled otherwise.
fn names(config: &Value) -> Vec<String> {
    let preset: Value = config["preset"].as_str().and_then(super::find).map_or(Value::Null, |text| text.parse().unwrap());
    let listed = [config, &preset].map(|document| {
        let lists =
            ["carriers", "strip", "environment_places"].map(|list| document[list].as_array().cloned().unwrap_or_default());
        let texts = lists.concat().into_iter().filter_map(|text| Some(text.as_str()?.split_once(':')?.1.to_owned()));
        texts.collect::<Vec<_>>()
    });
    let fixed = [
        "authorization",
        "authorization",
        "authorization",
        "x-api-key",
        "cookie",
        "cookie",
        "upgrade",
        "connection",
        "user-agent",
        "x-api-csrf",
        "x-api-no-challenge",
        ":protocol",
        ":authority",
        "host",
        "forwarded",
        "x-forwarded-host",
        "x-host",
        "x-keygate-key",
        "x-http-method-override",
        "x-http-method",
        "x-original-url",
        "accept",
        "te",
        "a",
        "x-request-id",
    ];
    listed.concat().into_iter().map(|name| name.replace('*', "a-user")).chain(fixed.map(str::to_owned)).collect()
}

fn paths(config: &Value) -> Vec<String> {
    let preset: Value = config["preset"].as_str().and_then(super::find).map_or(Value::Null, |text| text.parse().unwrap());
    let rules = [config, &preset].map(|document| document["rules"].as_array().cloned().unwrap_or_default()).concat();
    rules.iter().filter_map(|rule| rule["path"].as_str().map(str::to_owned)).collect()
}

fn grants() -> Vec<(&'static str, Grant)> {
    let id = |text: &str| EnvironmentId::parse(text).unwrap();
    let reach = Reach::only([(id("1a5").reference(), Access::Write), (id("14").reference(), Access::Read)]);
    let account = |limited, reach| Holder::Account { account: AccountId(3), limited, reach };
    let holders = [
        ("A:one", Holder::Environment(id("1a5"))),
        ("A:two", Holder::Environment(id("4"))),
        ("token", account(false, reach.clone())),
        ("Bearer", account(true, reach)),
        ("A:all", account(false, Reach::All)),
    ];
    let grant = |(number, (canonical, holder))| (canonical, Grant { key: KeyId(number), holder, expires_at: None });
    (1..).zip(holders).map(grant).collect()
}

/// Everything that a request's carriers may present.
fn values() -> Vec<String> {
    let basic = |text: String| format!("Basic {}", STANDARD.encode(text));
    let mut values: Vec<String> =
        ["", "true", "Mozilla/5.0", "DELETE", "websocket", "keep-alive, upgrade, x-keygate-key", "1a5:x"]
            .map(str::to_owned)
            .to_vec();
    values.extend(ENVIRONMENTS.map(str::to_owned));
    values.extend(["1a5.example.com", "4.example.com", "host=1a5", "Negotiate x", "\u{e9}"].map(str::to_owned));
    for credential in grants().iter().map(|(canonical, _)| *canonical).chain(["A:no", "x,y"]) {
        values.extend([credential.to_owned(), STANDARD.encode(credential), basic(credential.to_owned())]);
        values.extend(["Bearer", "bearer ", "Token"].map(|scheme| format!("{scheme} {credential}")));
        for user in ["x-api-bearer", "by", "someone", "BY"] {
            values.extend(["", "=1a5", "=4", "="].map(|place| basic(format!("{user}{place}:{credential}"))));
        }
        values.extend(["token", "Token", "old", "R_SESS"].map(|name| format!("a=b; {name}=\"{credential}\"; CSRF=true")));
        values.push(format!("token=bearer {credential}"));
    }
    values
}

type Raw = Vec<(Vec<u8>, Vec<u8>)>;

/// Requests that have few names and values among them, so that one often comes where another came before.
fn requests(config: &Value) -> impl Strategy<Value = Vec<Raw>> + use<> {
    use proptest::sample::{Index, select};
    let query = select(vec![
        "",
        "",
        "",
        "?",
        "?_method=x",
        "?action=remove",
        "?projectId=1a5",
        "?projectId=1a6",
        "?project=1a5",
        "?both=1a5:x",
        "?endpointId=4",
        "?token=token",
        "?Token=A%3Aone&b",
        "?old=token;x=y",
        "?filters=%7B%22project%22%3A%221a5%22%7D",
        "?clusterId=4",
    ]);
    let spelling = (0..6_usize, any::<Index>(), select(b"-_. aX1\xc3".to_vec()), select(vec![1, 40, 64_usize]));
    let header = (any::<Index>(), spelling, any::<Index>());
    let method = select(vec!["GET", "GET", "HEAD", "POST", "DELETE", "OPTIONS", "get"]);
    let path = (any::<Index>(), select(ENVIRONMENTS.to_vec()), select(vec!["x", "x", "exec", "%2e%2e", "A"]));
    let request = (method, path, query, proptest::collection::vec(header, 0..4));
    let some = |all: Vec<String>, count| proptest::collection::vec(select(all), count);
    let words = (some(paths(config), 3), some(names(config), 6), some(values(), 4));
    (words, proptest::collection::vec(request, 1..16)).prop_map(|((paths, names, values), requests)| {
        let header = |(name, (how, at, sign, longer), value): (Index, (usize, Index, u8, usize), Index)| {
            let mut name = name.get(&names).to_ascii_lowercase().into_bytes();
            let at = at.index(name.len());
            // A pseudo-header has one spelling.
            match how {
                0 if name[0] != b':' => name[at] = sign,
                1 if name[0] != b':' => name.extend(vec![b'z'; longer]),
                _ => {}
            }
            (name, value.get(&values).clone().into_bytes())
        };
        let request = |(method, (path, environment, rest), query, headers): (&str, (Index, &str, &str), &str, Vec<_>)| {
            let path = path.get(&paths).replace("{environment}", environment).replace("**", rest).replace('*', "x");
            let path = if rest == "A" { path.to_uppercase() } else { path };
            let own = [(":method", method.to_owned()), (":path", format!("{path}{query}"))];
            let own = own.map(|(name, value)| (name.into(), value.into()));
            own.into_iter().chain(headers.into_iter().map(header)).collect()
        };
        requests.into_iter().map(request).collect()
    })
}

/// All that may be told of one request: what the filter answers, and what of its headers goes on.
fn outcome(
    policy: &Policy,
    headers: &[Header<'_>],
    wants_challenge: bool,
    ruling: &Ruling,
    find: impl FnOnce() -> Result<Option<Grant>, Reason>,
) -> String {
    let judge = |demand: &Demand, found| match found {
        Ok(Some(grant)) => demand.decide(&grant, NOW),
        Ok(None) => Decision::Deny(Reason::UnknownCredential),
        Err(reason) => Decision::Deny(reason),
    };
    let (verdict, keep) = match ruling {
        Ruling::Refuse(reason) => (format!("{reason:?}"), false),
        Ruling::Pass { keep_credentials } => ("passes".to_owned(), *keep_credentials),
        Ruling::Check(demand) => {
            let target = demand.target().map(|target| (target.place(), target.access()));
            (format!("{target:?} {:?} {}", judge(demand, find()), demand.is_shadowed()), demand.keep_credentials())
        }
    };
    let is_there = |wanted: &[u8]| headers.iter().any(|(name, _)| *name == wanted);
    let goes = |name: &[u8]| is_forbidden_header(name) || policy.carriers.strips_header(name, keep);
    let changes: Vec<_> = headers
        .iter()
        .filter_map(|(name, value)| match *name {
            _ if goes(name) => Some((*name, None)),
            b"cookie" => Some((*name, policy.carriers.strip_cookie(value, keep))),
            b":path" => Some((*name, policy.carriers.strip_query(value, keep))),
            _ => None,
        })
        .collect();
    format!("{verdict} {wants_challenge} {changes:?} {}", is_there(b"connection") && is_there(b"upgrade"))
}

/// As the filter remembers grants: by fingerprints.
struct Remembered {
    key: FingerprintKey,
    grants: Grants,
}

impl Remembered {
    fn new() -> Self {
        Self { key: FingerprintKey::from_random([7; 16]), grants: Grants::default() }
    }

    fn find(&mut self, table: &HashMap<Digest, Grant>, credentials: &Credentials<'_>) -> Result<Option<Grant>, Reason> {
        let presented = credentials.sole()?;
        let fingerprint = presented.fingerprint(&self.key);
        if let Some(grant) = fingerprint.and_then(|fingerprint| self.grants.get(fingerprint)) {
            return Ok(Some(grant.as_ref().clone()));
        }
        let grant = table.get(&presented.digest().ok_or(Reason::MalformedCredential)?).cloned();
        if let (Some(fingerprint), Some(grant)) = (fingerprint, &grant) {
            self.grants.remember(fingerprint, Rc::new(grant.clone()));
        }
        Ok(grant)
    }
}

proptest! {
    #[test]
    fn no_shortcut_changes_what_becomes_of_a_request(
        (index, requests) in (0..5_usize).prop_flat_map(|index| (Just(index), requests(&configuration(index)))),
    ) {
        let policy = FilterConfig::parse(configuration(index).to_string().as_bytes()).unwrap().policy;
        let table: HashMap<Digest, Grant> =
            grants().into_iter().map(|(canonical, grant)| (Digest::of(canonical), grant)).collect();
        let (watch, removed, mut rulings) = (Watch::of(&policy), Watch::of_removed(&policy), Rulings::new());
        let mut remembered = Remembered::new();
        for raw in requests.iter().chain(&requests) {
            let all: Vec<Header<'_>> = raw.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
            let request = policy.read(all.iter().copied());
            let plain = outcome(&policy, &all, request.wants_challenge, &policy.rule_on(&request), || {
                Ok(table.get(&request.credentials.digest()?).cloned())
            });

            let watched: Vec<Header<'_>> = all.iter().copied().filter(|(name, _)| watch.may_matter(name)).collect();
            let request = policy.read(watched.iter().copied());
            let ruling = rulings.rule_on(&policy, &request);
            let short = outcome(&policy, &watched, request.wants_challenge, &ruling, || {
                remembered.find(&table, &request.credentials)
            });
            prop_assert_eq!(short, plain);
            for (name, _) in all.iter().filter(|(name, _)| !watch.may_matter(name)) {
                prop_assert!(!policy.removes_trailer(name));
            }
            for (name, _) in all.iter().filter(|(name, _)| !removed.may_matter(name)) {
                prop_assert!(!is_forbidden_header(name) && !policy.carriers.strips_header(name, false));
            }
        }
    }
}

/// One text by every carrier, and what Basic makes of it, one behind the other: what was remembered for one means nothing for another
/// that reads the same bytes otherwise.
#[test]
fn a_grant_is_remembered_for_no_carrier_that_reads_its_credential_otherwise() {
    let policy = FilterConfig::parse(configuration(3).to_string().as_bytes()).unwrap().policy;
    let table: HashMap<Digest, Grant> = grants().into_iter().map(|(canonical, grant)| (Digest::of(canonical), grant)).collect();
    let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
    let texts = ["A:one", "A:two", "token", "Bearer"].map(str::to_owned).into_iter();
    let texts = texts.flat_map(|text| {
        let schemes = [format!("Bearer {text}"), format!("bearer  {text}"), basic(&text), basic(&format!("by:{text}"))];
        [STANDARD.encode(&text), text].into_iter().chain(schemes)
    });
    let carried = |text: String| {
        let query = format!("/?token={}", text.replace(' ', "+"));
        [
            ("cookie", format!("token={text}")),
            ("authorization", basic(&format!("someone:{text}"))),
            (":path", query),
            ("k", text.clone()),
            ("x.own_key", text.clone()),
            ("authorization", text),
        ]
    };
    let requests: Vec<(&str, String)> = texts.flat_map(carried).collect();
    let mut passed = 0;
    for first in &requests {
        for second in &requests {
            let mut remembered = Remembered::new();
            for (name, value) in [first, second] {
                let credentials = policy.read([(name.as_bytes(), value.as_bytes())]).credentials;
                let plain = credentials.digest().map(|digest| table.get(&digest).cloned());
                assert_eq!(remembered.find(&table, &credentials), plain, "{name}: {value} behind {first:?}");
                passed += usize::from(matches!(plain, Ok(Some(_))));
            }
        }
    }
    assert!(passed > requests.len(), "hardly any of them is a credential");
}
