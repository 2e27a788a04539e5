//! The presets at work, all of them by the same measure: who passes with which request. It holds what is true of each; what one system
//! alone has is beside it. It must never decide by itself: every answer is the policy's.

use std::collections::BTreeSet;

use keygate_decision::{Access, AccountId, Decision, EnvironmentId, Grant, Holder, KeyId, Policy, Reach, Screening, UnixSeconds};
use serde_json::{Value, json};

use super::tables::{ACCOUNTS, EVERYBODY, KEYS, PORTAINER, RANCHER_1_6, RANCHER_2, READS, WITHIN, WRITES};
use super::*;
use crate::config::FilterConfig;

/// Who may ask: nobody at all, keys of environments A and B, an account that writes in A, one that reads there, an administrator.
pub(super) const WHO: [&str; 6] = ["nobody", "a", "b", "user", "reader", "admin"];

/// One preset at work, and two environments as its system names them.
pub(super) struct Bench {
    pub(super) policy: Policy,
    pub(super) a: &'static str,
    pub(super) b: &'static str,
}

/// A preset with no rules but its own.
pub(super) fn bench(name: &str) -> Bench {
    bench_with(name, &json!([]))
}

fn bench_with(name: &str, rules: &Value) -> Bench {
    let config = json!({"proxy": "edge-1", "control_plane": {"cluster": "keygate"}, "preset": name, "rules": rules});
    let policy = FilterConfig::parse(config.to_string().as_bytes()).unwrap().policy;
    let (a, b) = match name {
        "rancher-1.6" => ("1a5", "1a6"),
        "rancher-2" => ("c-aaaaa", "c-bbbbb"),
        _ => ("4", "5"),
    };
    Bench { policy, a, b }
}

/// Names in lower case, and values.
pub(super) type Headers<'h> = &'h [(&'h str, &'h str)];

impl Bench {
    fn grant(&self, who: &str) -> Option<Grant> {
        let id = |id: &str| EnvironmentId::parse(id).unwrap();
        let account = |reach| Holder::Account { account: AccountId(1), limited: false, reach };
        let holder = match who {
            "a" => Holder::Environment(id(self.a)),
            "b" => Holder::Environment(id(self.b)),
            "user" => account(Reach::only([(id(self.a).reference(), Access::Write)])),
            "reader" => account(Reach::only([(id(self.a).reference(), Access::Read)])),
            "admin" => account(Reach::All),
            _ => return None,
        };
        Some(Grant { key: KeyId(1), holder, expires_at: None })
    }

    /// Who passes with this request; `{a}` and `{b}` stand for the environments.
    pub(super) fn passers(&self, method: &str, path: &str, headers: Headers<'_>) -> BTreeSet<&'static str> {
        let named = |text: &str| text.replace("{a}", self.a).replace("{b}", self.b);
        let own = [(":method", method.to_owned()), (":path", named(path)), ("authorization", "Bearer key".to_owned())];
        let all: Vec<(&str, String)> = own.into_iter().chain(headers.iter().map(|(n, v)| (*n, named(v)))).collect();
        WHO.into_iter().filter(|who| self.passes(who, &all)).collect()
    }

    /// Whether one of [`WHO`] passes with this header map.
    pub(super) fn passes(&self, who: &str, headers: &[(&str, String)]) -> bool {
        let grant = self.grant(who);
        let sent = headers.iter().filter(|(name, _)| grant.is_some() || *name != "authorization");
        match self.policy.screen(&self.policy.read(sent.map(|(name, value)| (name.as_bytes(), value.as_bytes())))) {
            Screening::Pass { .. } => true,
            Screening::Check(check) => matches!(check.decide(grant.as_ref(), UnixSeconds(0)), Decision::Allow(_)),
            Screening::Refuse(_) => false,
        }
    }
}

#[test]
fn a_preset_is_found_as_it_stands_in_its_file_and_says_what_it_must() {
    for name in NAMES {
        let file = format!("{}/presets/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let text = find(name).unwrap();
        assert_eq!(text, std::fs::read_to_string(file).unwrap(), "{name}");
        let value: Value = serde_json::from_str(&text).unwrap();
        let mut fields = value.as_object().unwrap().clone();
        for field in ["carriers", "strip", "environment_places", "rules"] {
            assert!(fields.remove(field).is_some(), "{name}: {field}");
        }
        fields.remove("environment_header");
        assert!(fields.is_empty(), "{name}: {fields:?}");
    }
}

/// These of [`WHO`], with spaces between them.
pub(super) fn set(names: &str) -> BTreeSet<&'static str> {
    WHO.into_iter().filter(|who| names.split(' ').any(|name| name == *who)).collect()
}

/// A rule as it stands in the file, with a request that it is about.
pub(super) struct Example {
    pub(super) rule: Value,
    pub(super) method: String,
    pub(super) path: String,
}

impl Example {
    /// Whether its rule has this target.
    pub(super) fn is(&self, target: &str) -> bool {
        self.rule["target"] == target
    }

    /// Whether its path does.
    pub(super) fn names_environment(&self) -> bool {
        self.path.contains("{a}")
    }

    fn writes(&self) -> bool {
        self.method != "GET" || self.rule["access"] == "write"
    }
}

/// One for each rule of a preset.
pub(super) fn examples(name: &str) -> Vec<Example> {
    let preset: Value = serde_json::from_str(&find(name).unwrap()).unwrap();
    let example = |rule: &Value| {
        let path = rule["path"].as_str().unwrap();
        let path = path.replace("{environment}:*", "{a}:x").replace("{environment}", "{a}").replace("**", "x").replace('*', "7");
        // Where others may read, there is a rule for GET before the one for all methods.
        let any_method = if rule["target"] == "environment" { "GET" } else { "PATCH" };
        Example { rule: rule.clone(), method: rule["methods"][0].as_str().unwrap_or(any_method).to_owned(), path }
    };
    preset["rules"].as_array().unwrap().iter().map(example).collect()
}

/// Every rule of the presets, where no environment is named but by its path.
#[test]
fn every_rule_decides_what_it_is_about() {
    for name in NAMES {
        let bench = bench(name);
        for example in examples(name) {
            let expected = match example.rule["target"].as_str().unwrap() {
                "public" => EVERYBODY,
                "own" => KEYS,
                "within" => WITHIN,
                "account" => ACCOUNTS,
                "admin" => "admin",
                // Nobody, or administration, if its rule comes behind.
                _ if !example.names_environment() => {
                    let found = bench.passers(&example.method, &example.path, &[]);
                    assert!(found.is_subset(&set("admin")), "{name}: {} {}", example.method, example.rule);
                    continue;
                }
                _ if example.writes() => WRITES,
                _ => READS,
            };
            let found = bench.passers(&example.method, &example.path, &[]);
            assert_eq!(found, set(expected), "{name}: {} {}", example.method, example.rule);
        }
    }
}

#[test]
fn there_is_no_catch_all() {
    for name in NAMES {
        for example in examples(name) {
            let first = example.rule["path"].as_str().unwrap().split('/').nth(1).unwrap().to_owned();
            assert!(!first.contains(['*', '{']), "{name}: {first}");
        }
        let bench = bench(name);
        for path in ["/unknown", "/v9/unknown", "/api/unknown/x", "/v3/unknown", "/v2-beta/unknown/1x1", "/r", "/k8s/unknown/x"] {
            assert!(bench.passers("GET", path, &[]).is_subset(&set("admin")), "{name}: {path}");
        }
    }
}

/// Whatever an upstream folds, a spelling of an environment's or an administrator's path is for no one else.
#[test]
fn no_spelling_of_a_path_is_weaker() {
    for name in NAMES {
        let bench = bench(name);
        for example in examples(name).iter().filter(|example| example.is("admin") || example.is("environment")) {
            for method in ["GET", example.method.as_str()] {
                // An administrator may pass where the spelling is another rule's own path.
                let allowed: BTreeSet<_> = bench.passers(method, &example.path, &[]).union(&set("admin")).copied().collect();
                for spelled in spellings(&example.path) {
                    let found = bench.passers(method, &spelled, &[]);
                    assert!(found.is_subset(&allowed), "{name}: {method} {spelled} passes for {found:?}");
                }
            }
        }
    }
}

fn spellings(path: &str) -> Vec<String> {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let with = |index: usize, spelled: String| {
        let parts = segments.iter().enumerate().map(|(i, s)| if i == index { spelled.clone() } else { (*s).to_owned() });
        format!("/{}", parts.collect::<Vec<_>>().join("/"))
    };
    let mut spelled = vec![format!("/{path}"), format!("/x/..{path}"), path.replacen('/', "/%2e/", 2), path.replace('/', "%2f")];
    for (index, segment) in segments.iter().enumerate().filter(|(_, segment)| segment.len() > 1 && !segment.contains('{')) {
        let (first, rest) = segment.split_at(1);
        let encoded = format!("%{:02x}{rest}", first.as_bytes()[0]);
        let double = format!("%25{:02x}{rest}", first.as_bytes()[0]);
        let plural = segment.strip_suffix('s').map_or_else(|| format!("{segment}s"), str::to_owned);
        let spellings = [
            segment.to_uppercase(),
            plural,
            encoded,
            double,
            format!("{segment};x=y"),
            format!("{segment}/"),
            format!("./{segment}"),
        ];
        spelled.extend(spellings.map(|spelling| with(index, spelling)));
    }
    spelled
}

#[test]
fn a_place_that_names_another_environment_is_never_overlooked() {
    let places: [(&str, &[(&str, Headers<'_>)]); 3] = [
        (
            "rancher-1.6",
            &[
                ("?projectId={b}", &[]),
                ("?ProjectID={b}", &[]),
                ("?a=b;project%49d={b}", &[]),
                ("", &[("x-api-project-id", "{b}")]),
            ],
        ),
        ("rancher-2", &[("?clusterId={b}", &[]), ("?CLUSTERID={b}", &[]), ("?projectId={b}:p-1", &[])]),
        (
            "portainer",
            &[
                ("?endpointId={b}", &[]),
                ("?endpointid={a}&endpointId={b}", &[]),
                ("?filters={%22EndpointID%22:{b}}", &[]),
                ("?filters=%7B%22endpointid%22%3A%22{b}%22%7D", &[]),
                ("?filters={%22EndpointID%22:{a},%22EndpointID%22:{b}}", &[]),
                ("?filters=nonsense", &[]),
            ],
        ),
    ];
    for (name, places) in places {
        let bench = bench(name);
        for example in examples(name).iter().filter(|example| !example.is("public")) {
            for (query, headers) in places {
                let found = bench.passers(&example.method, &format!("{}{query}", example.path), headers);
                let allowed = match example.rule["target"].as_str().unwrap() {
                    "environment" if example.names_environment() => "",
                    "environment" | "own" | "within" => "b admin",
                    _ => "admin",
                };
                assert!(
                    found.is_subset(&set(allowed)),
                    "{name}: {} {}{query} {headers:?}: {found:?}",
                    example.method,
                    example.path
                );
            }
        }
    }
}

#[test]
fn credentials_count_in_the_carriers_of_their_system_alone() {
    let rows: [(&str, &str, Headers<'_>, bool); 20] = [
        ("rancher-1.6", "", &[("authorization", "Basic YTpi")], true),
        ("rancher-1.6", "", &[("authorization", "Bearer a:b")], true),
        ("rancher-1.6", "", &[("authorization", "x")], true),
        ("rancher-1.6", "", &[("cookie", "TOKEN=bearer a:b")], true),
        ("rancher-1.6", "", &[("x-api-key", "a:b")], false),
        ("rancher-1.6", "?token=a:b", &[], false),
        ("rancher-1.6", "", &[("x-api-client-access-key", "a:b")], false),
        ("rancher-2", "", &[("authorization", "Basic YTpi")], true),
        ("rancher-2", "", &[("authorization", "a:b")], false),
        ("rancher-2", "", &[("cookie", "R_SESS=a:b")], true),
        ("rancher-2", "", &[("cookie", "token=a:b")], false),
        ("rancher-2", "?token=a:b", &[], false),
        ("portainer", "", &[("x-api-key", "ptr_x")], true),
        ("portainer", "?X-Api-Key=ptr_x", &[], true),
        ("portainer", "", &[("authorization", "Bearer x")], true),
        ("portainer", "", &[("authorization", "x")], true),
        ("portainer", "", &[("cookie", "portainer_api_key=x")], true),
        ("portainer", "", &[("authorization", "Basic YTpi")], false),
        ("portainer", "?token=x", &[], false),
        ("portainer", "?token=x", &[("x-api-key", "ptr_x")], true),
    ];
    for (name, query, headers, counts) in rows {
        let policy = bench(name).policy;
        let path = format!("/{query}");
        let all = [(":method", "GET"), (":path", path.as_str())].into_iter().chain(headers.iter().copied());
        let request = policy.read(all.map(|(name, value)| (name.as_bytes(), value.as_bytes())));
        assert_eq!(request.credentials.digest().is_ok(), counts, "{name}: {query} {headers:?}");
        let not_judged = [("?token=x", "rancher-1.6"), ("?token=x", "rancher-2"), ("?token=x", "portainer")];
        assert!(not_judged.iter().all(|(path, name)| bench(name).policy.carriers.strip_query(path.as_bytes(), true).is_some()));
    }
}

#[test]
fn what_a_system_takes_for_another_identity_is_taken_out() {
    for (name, header) in [
        ("rancher-1.6", "x-api-client-access-key"),
        ("rancher-1.6", "x-account-uuid"),
        ("rancher-2", "impersonate-user"),
        ("rancher-2", "impersonate-group"),
        ("rancher-2", "impersonate-uid"),
        ("rancher-2", "impersonate-extra-scopes"),
        ("rancher-2", "impersonate_extra_scopes"),
        ("rancher-2", "x-api-cluster-id"),
    ] {
        assert!(bench(name).policy.carriers.strips_header(header.as_bytes(), true), "{name}: {header}");
    }
}

/// Portainer's own proof is a secret between its cookie and its page, and it asks for none once its cookie is gone.
#[test]
fn a_browsers_write_by_cookie_needs_the_same_proof_everywhere() {
    for (name, cookie) in [("rancher-1.6", "token=x"), ("rancher-2", "R_SESS=a:b"), ("portainer", "portainer_api_key=x")] {
        let policy = bench(name).policy;
        let forged = |more: Headers<'_>| {
            let own = [(":method", "POST"), (":path", "/"), ("user-agent", "Mozilla/5.0")];
            let all = own.into_iter().chain(more.iter().copied());
            policy.read(all.map(|(name, value)| (name.as_bytes(), value.as_bytes()))).may_be_forged
        };
        let with_csrf = format!("{cookie}; CSRF=abc");
        assert!(forged(&[("cookie", cookie)]), "{name}");
        assert!(forged(&[("cookie", &with_csrf), ("x-csrf-token", "abc")]), "{name}");
        assert!(!forged(&[("cookie", &with_csrf), ("x-api-csrf", "abc")]), "{name}");
    }
}

#[test]
fn the_systems_are_as_they_are_documented() {
    for (name, table) in NAMES.into_iter().zip([RANCHER_1_6, RANCHER_2, PORTAINER]) {
        let bench = bench(name);
        for (method, path, expected) in table {
            assert_eq!(bench.passers(method, path, &[]), set(expected), "{name}: {method} {path}");
        }
    }
}

#[test]
fn an_operators_own_rules_come_first() {
    let bench = bench_with(
        "portainer",
        &json!([
            {"path": "/healthz", "target": "public"},
            {"path": "/api/stacks/*", "methods": ["PUT", "DELETE"], "target": "environment"},
        ]),
    );
    assert_eq!(bench.passers("GET", "/healthz", &[]), set(EVERYBODY));
    assert_eq!(bench.passers("PUT", "/api/stacks/7?endpointId={a}", &[]), set(WRITES));
    assert_eq!(bench.passers("PUT", "/api/stacks/7", &[]), set("admin"));
    assert_eq!(bench.passers("POST", "/api/stacks/7/migrate?endpointId={a}", &[]), set("admin"));
}
