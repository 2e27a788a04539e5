//! What the commands say of configurations and requests. Verdicts are compared with the decision's own in its tests.

use clap::Parser;
use keygate_decision::{AccountId, Digest, EnvironmentId, Grant, Header, Holder, KeyId, Reach, UnixSeconds};
use keygate_wire::Source;
use serde_json::json;

use super::grant::Key;
use super::report::Report;
use super::verdict::Verdict;
use super::*;

const CONFIG: &str = r#"{
    "proxy": "edge-1",
    "control_plane": {"cluster": "keygate"},
    "carriers": ["basic", "bearer", "header:x-api-key", "cookie:token", "query:key"],
    "strip": ["cookie:R_SESS"],
    "environment_places": ["header:x-project"],
    "rules": [
        {"path": "/public/**", "target": "public"},
        {"path": "/v1/settings/**", "target": "admin"},
        {"path": "/v1/projects/{environment}/exec", "target": "environment", "access": "write"},
        {"path": "/v1/projects/{environment}/**", "target": "environment"},
        {"path": "/v1/*", "target": "account", "methods": ["GET"]},
        {"path": "/trial/**", "target": "account", "shadow": true}
    ]
}"#;
const ACCESS: &str = "0123456789ABCDEF0123";
const SECRET: &str = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQ";

#[test]
fn what_is_no_header_is_not_repeated() {
    let policy = parse(CONFIG.as_bytes()).unwrap().policy;
    for line in ["x", "authorization Basic aHVzaA==", "bearer hush: x", ":path: /hush", ":hush"] {
        let problem = format!("{:?}", explain::request(&policy, &args(&["GET", "/", "-H", line])).unwrap_err());
        assert!(problem.contains("-H: ") && !problem.contains("hush") && !problem.contains("aHVzaA"), "{problem}");
    }
}

#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: FilterCommand,
}

fn args(line: &[&str]) -> explain::ExplainArgs {
    let line = ["keygate", "explain", "filter.json"].iter().chain(line);
    match Cli::try_parse_from(line).unwrap_or_else(|error| panic!("{error}")).command {
        FilterCommand::Explain(args) => args,
        other => panic!("{other:?}"),
    }
}

/// The report of a request, as JSON and as text.
fn explain(line: &[&str], key: Option<&Key>) -> (Value, String) {
    explain_by(CONFIG, line, key)
}

fn explain_by(config: &str, line: &[&str], key: Option<&Key>) -> (Value, String) {
    let config = parse(config.as_bytes()).unwrap();
    let mut args = args(line);
    args.key = key.map(|key| key.id.parse().unwrap());
    let headers = explain::request(&config.policy, &args).unwrap();
    let headers: Vec<Header<'_>> = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let explanation = config.policy.explain(&headers);
    let verdict = Verdict::find(&config, &headers, &explanation, key, UnixSeconds(1_000));
    let report = Report { config: &config, headers: &headers, explanation: &explanation, verdict: &verdict, key };
    (report.json(), report.text(false))
}

fn verdict(line: &[&str], key: Option<&Key>) -> Value {
    explain(line, key).0["verdict"].clone()
}

fn environment_key(id: &str) -> Key {
    let holder = Holder::Environment(EnvironmentId::parse(id).unwrap());
    Key { id: "7".to_owned(), grant: Some(Grant { key: KeyId(7), holder, expires_at: None }) }
}

#[test]
fn a_configuration_is_shown_with_its_defaults() {
    let config = parse(CONFIG.as_bytes()).unwrap();
    let report = check::report(&config, UnixSeconds(0));
    assert_eq!((&report["table"], &report["stalenessLimitSeconds"]), (&json!("default"), &json!(3600)));
    assert_eq!(report["strip"], json!(["cookie:r_sess"]));
    let exec = json!({
        "index": 2, "from": "own", "methods": null, "path": "/v1/projects/{environment}/exec", "target": "environment",
        "access": "write", "keepCredentials": false, "shadow": false, "environmentPlaces": null
    });
    assert_eq!(report["rules"][2], exec);
    assert_eq!(report["rules"][5]["shadow"], json!(true));
    let text = check::text(&report);
    for line in
        ["CARRIERS                 basic, bearer, header:x-api-key, cookie:token, query:key", "SHADOW                   no"]
    {
        assert!(text.lines().any(|own| own == line), "{text}");
    }
    assert!(text.contains("\nwarning: rules[5].shadow: "), "{text}");
    assert!(text.contains("\nwarning: carriers: query:key puts credentials into URLs"), "{text}");
}

#[test]
fn what_is_wrong_names_its_field() {
    let problem = |text: &str| parse(text.as_bytes()).unwrap_err().to_string();
    assert!(problem(&CONFIG.replace("/v1/projects/{environment}/**", "v1")).starts_with("rules[3].path: must begin with /"));
    assert!(problem(&CONFIG.replace("cookie:token", "cookies")).starts_with("carriers[3]: "));
    assert!(problem("{").contains("not usable JSON"));
    for envoys in [
        "static_resources:\n  listeners: []\n",
        "# Envoy\nadmin:\n  address: {}\n",
        "- name: envoy.filters.http.wasm\n  typed_config:\n",
        r#"{"static_resources": {}}"#,
        r#"{"@type": "type.googleapis.com/google.protobuf.StringValue", "value": "{}"}"#,
    ] {
        assert!(problem(envoys).contains("configuration.value"), "{envoys}");
    }
}

#[test]
fn what_may_not_be_meant_is_warned_of() {
    let config = json!({
        "proxy": "edge-1", "control_plane": {"cluster": "keygate"},
        "rules": [
            {"path": "/a/**", "target": "account"},
            {"path": "/a/b", "target": "public", "methods": ["GET"]},
            {"path": "/**", "target": "admin"},
        ],
    });
    let report = check::report(&parse(config.to_string().as_bytes()).unwrap(), UnixSeconds(0));
    let warnings = [
        "rules[1].path: never decides, because rules[0] takes all that it matches",
        "rules[2].path: takes every path that no rule before it knows, for admin",
    ];
    assert_eq!(report["warnings"], json!(warnings));
}

#[test]
fn a_rule_shows_where_its_environment_must_be_named_and_hides_nothing_where_it_is_not() {
    let config = r#"{"proxy": "a", "control_plane": {"cluster": "b"}, "environment_places": ["header:x-project", "query:project"],
        "rules": [{"path": "/jobs/**", "target": "environment", "environment_places": ["query:project"]},
                  {"path": "/jobs/**", "target": "environment"}, {"path": "/jobs/**", "methods": ["GET", "DELTE"], "target": "admin"}]}"#;
    let report = check::report(&parse(config.as_bytes()).unwrap(), UnixSeconds(0));
    assert_eq!(report["rules"][0]["environmentPlaces"], json!(["query:project"]));
    assert_eq!(report["rules"][1]["environmentPlaces"], Value::Null);
    let warning = "rules[2].methods: DELTE is no method that Envoy takes over HTTP/1; leave methods out for all of them";
    assert_eq!(report["warnings"], json!([warning]));
}

#[test]
fn without_a_key_the_verdict_says_which_would_pass() {
    let path = "/v1/projects/1a5/containers";
    let found = verdict(&["POST", path, "-H", "X-API-Key: a:b"], None);
    assert_eq!(found["outcome"], "depends");
    assert_eq!(found["passesFor"], "a key of environment 1a5, or of an account that may write there");
    assert_eq!(found["upstream"]["removed"], json!(["x-api-key"]));
    let found = verdict(&["GET", path], None);
    assert_eq!((&found["status"], &found["reason"]), (&json!(401), &json!("no_credential")));
    assert_eq!(found["passesFor"], "a key of environment 1a5, or of an account that may read there");
    assert_eq!(found["body"], r#"{"details":"Unauthorized","message":"A valid authorization token is missing"}"#);
}

#[test]
fn as_a_key_the_decision_itself_is_told() {
    let path = "/v1/projects/1a5/containers";
    let found = verdict(&["GET", path, "-H", "x_keygate_key: 1"], Some(&environment_key("1a5")));
    let set = json!({"x-keygate-key": "7", "x-keygate-environment": "1a5", "x-keygate-access": "write"});
    assert_eq!((&found["outcome"], &found["upstream"]["set"]), (&json!("passes"), &set));
    assert_eq!(found["upstream"]["removed"], json!(["x_keygate_key", "authorization"]));
    let found = verdict(&["GET", path], Some(&environment_key("1a6")));
    assert_eq!((&found["status"], &found["reason"]), (&json!(403), &json!("out_of_scope")));
    let inactive = Key { id: "7".to_owned(), grant: None };
    assert_eq!(verdict(&["GET", path], Some(&inactive))["reason"], "unknown_credential");
    let holder = Holder::Account { account: AccountId(3), limited: false, reach: Reach::All };
    let expired = Grant { key: KeyId(8), holder, expires_at: Some(UnixSeconds(1_000)) };
    assert_eq!(verdict(&["GET", path], Some(&Key { id: "8".to_owned(), grant: Some(expired) }))["reason"], "expired");
}

#[test]
fn a_request_that_needs_a_key_is_not_called_public_because_the_upstream_is_told_nothing() {
    let silent = CONFIG.replacen('{', r#"{"identity_headers": [], "#, 1);
    let key = environment_key("1a5");
    let (json, text) = explain_by(&silent, &["GET", "/v1/projects/1a5/hosts"], Some(&key));
    assert_eq!((&json["verdict"]["outcome"], &json["verdict"]["public"]), (&json!("passes"), &json!(false)));
    assert!(text.contains("passes") && !text.contains("public"), "{text}");
    let (json, text) = explain_by(&silent, &["GET", "/public/x"], Some(&key));
    assert_eq!(json["verdict"]["public"], json!(true));
    assert!(text.contains("its rule is public"), "{text}");
    let warnings = check::report(&parse(silent.as_bytes()).unwrap(), UnixSeconds(0))["warnings"].to_string();
    assert!(warnings.contains("identity_headers: without x-keygate-key"), "{warnings}");
}

#[test]
fn a_key_stands_in_by_a_special_user_where_there_is_no_other_carrier() {
    let only = CONFIG.replace(r#"["basic", "bearer", "header:x-api-key", "cookie:token", "query:key"]"#, r#"["basic:token"]"#);
    let (json, _) = explain_by(&only, &["GET", "/v1/projects/1a5/hosts"], Some(&environment_key("1a5")));
    assert_eq!(json["verdict"]["outcome"], json!("passes"), "{json}");
}

#[test]
fn a_path_is_explained_segment_by_segment_and_rule_by_rule() {
    let (json, text) = explain(&["GET", "/v1/projects/1a5/%2e%2e/1a6"], None);
    assert_eq!(
        json["path"],
        json!({"ambiguous": true, "segment": 4, "text": "%2e%2e", "why": "decodes to something that climbs"})
    );
    assert!(text.contains("\nverdict      400 ambiguous_path: "), "{text}");
    let (json, text) = explain(&["GET", "/v1/Setting"], None);
    assert_eq!((&json["rules"][1]["match"], &json["rules"][1]["role"]), (&json!("only folded"), &json!("overrules")));
    assert_eq!((&json["rules"][4]["match"], &json["rules"][4]["role"]), (&json!("exactly"), &json!("is overruled")));
    assert!(text.contains("\n4 rules do not match; --all lists them\n"), "{text}");
    let (json, _) = explain(&["POST", "/v1/x"], None);
    assert_eq!((&json["rules"][4]["match"], &json["verdict"]["reason"]), (&json!("other methods"), &json!("no_credential")));
}

#[test]
fn environments_writes_and_shadow_are_explained() {
    let (json, text) = explain(&["GET", "/v1/projects/1a5/exec", "-H", "X-Project: 1a6", "-H", "x-api-key: a"], None);
    assert_eq!(json["environments"]["named"][1], json!({"place": "header:x-project", "name": "1a6"}));
    assert_eq!(json["access"]["because"], json!(["the rule that decides"]));
    assert!(text.contains("\nenvironment  1a5 in path, 1a6 in header:x-project: they do not agree\n"), "{text}");
    assert!(text.contains("\nverdict      403 environments_disagree: "), "{text}");
    let found = verdict(&["GET", "/trial/x", "-H", "authorization: Bearer a"], Some(&environment_key("1a5")));
    assert_eq!(
        (&found["outcome"], &found["upstream"]["set"]),
        (&json!("shadowed"), &json!({"x-keygate-shadow": "out_of_scope"}))
    );
    assert_eq!(found["upstream"]["removed"], json!([]));
}

#[test]
fn no_secret_is_printed() {
    let headers = [
        format!("authorization: Bearer {ACCESS}:{SECRET}"),
        "x-api-key: hush-1".to_owned(),
        "cookie: token=hush-2; R_SESS=hush-3".to_owned(),
        "Authorization: Basic aHVzaDpodXNo".to_owned(),
    ];
    let mut line = vec!["GET", "/v1/projects/1a5/x?key=hush-4&a=b"];
    for header in &headers {
        line.extend(["-H", header]);
    }
    let (json, text) = explain(&line, None);
    for secret in [SECRET, "hush", "aHVzaDpodXNo"] {
        assert!(!text.contains(secret) && !json.to_string().contains(secret), "{text}");
    }
    assert_eq!(json["request"]["path"], "/v1/projects/1a5/x?a=b");
    let (json, text) = explain(&["GET", "/", "-H", &headers[0]], None);
    assert_eq!(json["credentials"], json!([{"carrier": "bearer", "accessKey": ACCESS, "bytes": null, "malformed": false}]));
    assert!(text.contains(&format!("\ncredential   bearer: a credential of access key {ACCESS}\n")), "{text}");
}

#[test]
fn a_request_is_made_as_envoy_hands_it_over() {
    let policy = parse(CONFIG.as_bytes()).unwrap().policy;
    let made = |line: &[&str]| explain::request(&policy, &args(line)).unwrap();
    let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let twice = ["GET", "/", "-H", "authorization: A", "-H", "Authorization: B"];
    assert_eq!(made(&twice), [header(":method", "GET"), header(":path", "/"), header("authorization", "A,B")]);
    assert_eq!(made(&["CONNECT", ""]), [header(":method", "CONNECT")]);
    let with_key = ["GET", "/", "--as", "7"];
    assert_eq!(made(&with_key).last(), Some(&header("authorization", "Basic c3RhbmQ6aW4=")));
    assert_eq!(made(&["GET", "/", "--as", "7", "-H", "cookie: token=a"]).last(), Some(&header("cookie", "token=a")));
    assert!(Cli::try_parse_from(["keygate", "explain", "f", "GET"]).is_err());
}

#[test]
fn an_embedded_table_is_counted_and_decides_as_its_keys() {
    let grant = |key: u64, end: Option<u64>| {
        let holder = Holder::Environment(EnvironmentId::parse("1a5").unwrap());
        let grant = Grant { key: KeyId(key), holder, expires_at: end.map(UnixSeconds) };
        keygate_wire::embedded::entry_text(&Digest::of(&key.to_string()), &grant)
    };
    let entries: serde_json::Map<String, Value> =
        [grant(7, None), grant(8, Some(1_000))].into_iter().map(|(digest, grant)| (digest, grant.into())).collect();
    let mut config: Value = serde_json::from_str(CONFIG).unwrap();
    for field in ["proxy", "control_plane"] {
        config.as_object_mut().unwrap().remove(field);
    }
    config["embedded_table"] = entries.into();
    config["embedded_revision"] = json!(3);
    let config = parse(config.to_string().as_bytes()).unwrap();
    let report = check::report(&config, UnixSeconds(1_000));
    let shown = ["embeddedKeys", "embeddedExpired", "embeddedRevision"].map(|field| report[field].as_u64());
    assert_eq!(shown, [Some(2), Some(1), Some(3)]);
    assert!(report.get("proxy").is_none());
    assert!(check::text(&report).contains("OF THEM EXPIRED"), "{}", check::text(&report));
    let Source::Embedded { table, .. } = config.source else { panic!("the table is embedded") };
    let expiry = |id: &str| grant::embedded(&table, &id.parse().unwrap()).grant.map(|grant| grant.expires_at);
    assert_eq!((expiry("7"), expiry("8")), (Some(None), Some(Some(UnixSeconds(1_000)))));
    assert_eq!((expiry("9"), expiry("x")), (None, None));
}

#[test]
fn readiness_is_told_and_a_rule_that_it_hides_is_warned_of() {
    let config = CONFIG.replace("\"rules\"", "\"readiness_path\": \"/public/ready\", \"rules\"");
    let config = parse(config.as_bytes()).unwrap();
    let report = check::report(&config, UnixSeconds(0));
    assert_eq!(report["readinessPath"], json!("/public/ready"));
    assert!(report["warnings"].to_string().contains("readiness_path: GET and HEAD of /public/ready"), "{report}");
    let outcome = |method: &str, path: &str| {
        let headers: [Header<'_>; 2] = [(b":method", method.as_bytes()), (b":path", path.as_bytes())];
        let explanation = config.policy.explain(&headers);
        Verdict::find(&config, &headers, &explanation, None, UnixSeconds(0)).json()["outcome"].clone()
    };
    assert_eq!(outcome("GET", "/public/ready?x"), "readiness");
    assert_eq!((outcome("POST", "/public/ready"), outcome("GET", "/public/ready/")), (json!("passes"), json!("passes")));
}
