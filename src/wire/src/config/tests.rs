//! What a configuration means, and what is said of one that cannot be used.

use serde_json::{Value, json};

use super::*;
use crate::JoinToken;

fn good() -> Value {
    json!({
        "proxy": "edge-1",
        "control_plane": {"cluster": "keygate"},
        "rules": [
            {"path": "/healthz", "target": "public"},
            {"path": "/v1/projects/{environment}/**", "target": "environment"},
        ],
    })
}

fn problem(change: impl FnOnce(&mut Value)) -> String {
    let mut value = good();
    change(&mut value);
    FilterConfig::parse(value.to_string().as_bytes()).unwrap_err().to_string()
}

#[test]
fn a_small_configuration_gets_its_defaults() {
    let config = FilterConfig::parse(good().to_string().as_bytes()).unwrap();
    assert_eq!(config.table, "default");
    assert!(matches!(config.source, Source::ControlPlane(from) if from.staleness_limit_seconds == 3600));
    assert_eq!(config.readiness, None);
    assert_eq!(config.policy.rules.len(), 2);
    assert_eq!(config.policy.carriers.used.len(), 3);
}

#[test]
fn what_a_preset_s_upstream_honours_is_never_forgotten_for_what_is_listed_besides() {
    let with = |preset: &str, more: serde_json::Value| {
        let mut config = json!({"proxy": "a", "control_plane": {"cluster": "b"}, "preset": preset});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        FilterConfig::parse(config.to_string().as_bytes()).unwrap().policy
    };
    let rancher = with("rancher-2", json!({"strip": ["cookie:legacy"], "environment_places": ["header:x-tenant"]}));
    for header in ["impersonate-user", "x-api-cluster-id"] {
        assert!(rancher.carriers.strips_header(header.as_bytes(), false), "{header}");
    }
    assert_eq!(rancher.carriers.strip_query(b"/a?token=x", false).as_deref(), Some(b"/a".as_slice()));
    assert_eq!(rancher.carriers.strip_cookie(b"legacy=x", false).as_deref(), Some(b"".as_slice()));
    let places = |policy: &Policy| policy.locators.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(places(&rancher)[0], "header:x-tenant");
    assert_eq!(places(&rancher)[1..], places(&with("rancher-2", json!({}))));

    // As programs write what nobody has set.
    let unset = with("rancher-2", json!({"strip": null, "environment_places": null, "carriers": null}));
    assert_eq!(unset.locators, with("rancher-2", json!({})).locators);

    let portainer = with("portainer", json!({"carriers": ["header:x-api-key"]}));
    assert_eq!(portainer.carriers.used, [Carrier::Header("x-api-key".to_owned())], "nothing else counts");
    assert_eq!(portainer.carriers.strip_cookie(b"portainer_api_key=x", false).as_deref(), Some(b"".as_slice()));
    assert_eq!(portainer.carriers.strip_query(b"/a?x-api-key=x", false).as_deref(), Some(b"/a".as_slice()));
}

#[test]
fn what_is_wrong_is_named() {
    assert!(problem(|c| c["rules"][1]["path"] = json!("projects")).starts_with("rules[1].path: must begin with /"));
    assert!(problem(|c| c["rules"][1]["target"] = json!("account")).starts_with("rules[1].target: must be environment"));
    assert!(problem(|c| c["rules"][0]["target"] = json!("environment")).starts_with("rules[0].path: must name"));
    assert!(problem(|c| c["rules"][0]["methods"] = json!(["get"])).starts_with("rules[0].methods"));
    assert!(problem(|c| c["rules"] = json!([])).starts_with("rules"));
    assert!(problem(|c| c["proxy"] = json!("a b")).starts_with("proxy"));
    assert!(problem(|c| c["staleness_limit_seconds"] = json!(0)).starts_with("staleness_limit_seconds"));
    assert!(problem(|c| c["proxy"] = json!(5)).starts_with("proxy: "));
    assert!(problem(|c| c["control_plane"] = json!("keygate")).starts_with("control_plane: "));
    assert!(problem(|c| c["rules"][1]["target"] = json!(1)).starts_with("rules[1].target: "));
    assert!(problem(|c| c["rulez"] = json!([])).contains("unknown field `rulez`"));
    assert!(problem(|c| c["rules"][0]["publik"] = json!(true)).contains("unknown field `publik`"));
    assert!(problem(|c| c["rules"][0]["target"] = json!("everyone")).contains("unknown variant `everyone`"));
    assert!(problem(|c| c["carriers"] = json!(["basic", "cookies"])).starts_with("carriers[1]: \"cookies\""));
    assert!(problem(|c| c["carriers"] = json!(["header:x-*"])).starts_with("carriers[0]: \"header:x-*\""));
    assert!(problem(|c| c["strip"] = json!(["x"])).starts_with("strip[0]"));
    assert!(problem(|c| c["strip"] = json!(["header:*"])).starts_with("strip[0]"));
    assert!(problem(|c| c["environment_header"] = json!("x-project")).starts_with("environment_header: must stand in"));
    assert!(problem(|c| c["environment_places"] = json!(["path"])).starts_with("environment_places[0]"));
    let many: Vec<String> = (0..33).map(|number| format!("query:a{number}")).collect();
    assert!(problem(|c| c["environment_places"] = json!(many)).starts_with("environment_places: must hold at most 32"));
    let elsewhere = problem(|c| c["rules"][0]["environment_places"] = json!(["query:nowhere"]));
    assert!(elsewhere.starts_with("rules[0].environment_places: must be some of those of all rules"), "{elsewhere}");
    for list in [json!([]), json!(["query:nowhere"]), json!(["query:project", "query:nowhere"])] {
        let found = json!({"proxy": "a", "control_plane": {"cluster": "b"}, "environment_places": ["query:project"],
            "rules": [{"path": "/jobs", "target": "environment", "environment_places": list}]});
        assert!(FilterConfig::parse(found.to_string().as_bytes()).is_err(), "{found}");
    }
    let spelled = json!({"proxy": "a", "control_plane": {"cluster": "b"},
        "environment_places": ["query:project", "query:Project", "header:X-Project"],
        "rules": [{"path": "/jobs", "target": "environment", "environment_places": ["query:Project", "header:x-project"]}]});
    let rule = &FilterConfig::parse(spelled.to_string().as_bytes()).unwrap().policy.rules[0];
    assert_eq!(rule.places, Places::default().with(1).with(2), "as places are spelled");
    assert_eq!(problem(|c| c["carriers"] = json!(["header:X-Key", "basic", "header:x-key"])), "carriers[2]: stands there twice");
    let unknown = problem(|c| c["identity_headers"] = json!(["x-keygate-key", "x-user"]));
    assert!(unknown.starts_with("identity_headers[1]: \"x-user\" will not do: must be x-keygate-key, x-"), "{unknown}");
    assert_eq!(
        problem(|c| c["identity_headers"] = json!(["x-keygate-key", "X-Keygate-Key"])),
        "identity_headers[1]: stands there twice"
    );
    assert!(problem(|c| c["readiness_path"] = json!("/a/*")).starts_with("readiness_path: must be one plain path"));
    assert!(problem(|c| c["environment_places"] = json!(["query:a:b"])).starts_with("environment_places[0]"));
    assert!(problem(|c| c["preset"] = json!("nomad")).starts_with("preset: there is no preset"));
    assert!(FilterConfig::parse(b"").is_err());
    let twice = format!("{}{}", good(), good());
    assert!(FilterConfig::parse(twice.as_bytes()).unwrap_err().problem.contains("trailing characters"));
    assert!(FilterConfig::parse(&[0xFF]).is_err());
}

#[test]
fn the_upstream_is_told_as_much_as_is_wanted_and_needed() {
    let told = |change: fn(&mut Value)| {
        let mut value = good();
        change(&mut value);
        FilterConfig::parse(value.to_string().as_bytes()).map(|config| config.policy.identity_headers)
    };
    assert_eq!(told(|_| ()), Ok(IdentityHeader::ALL.to_vec()));
    assert_eq!(told(|c| c["identity_headers"] = json!([])), Ok(vec![]));
    assert_eq!(told(|c| c["identity_headers"] = json!(["X-Keygate-Account"])), Ok(vec![IdentityHeader::Account]));
    // An upstream that keeps to an environment must be told it.
    let own = |c: &mut Value| {
        c["rules"][0] = json!({"path": "/own", "target": "own"});
        c["identity_headers"] = json!(["x-keygate-key"]);
    };
    assert_eq!(told(own).map_err(|error| error.field), Err("identity_headers".to_owned()));
    let preset = FilterConfig::parse(
        json!({
            "proxy": "edge-1",
            "control_plane": {"cluster": "keygate"},
            "preset": "rancher-1.6",
            "identity_headers": [],
        })
        .to_string()
        .as_bytes(),
    );
    assert!(preset.is_ok(), "{preset:?}, and X-API-Project-Id tells it");
}

#[test]
fn a_token_is_taken_by_its_form_and_never_repeated() {
    let token = format!("kgj_{}", "aB3".repeat(13) + "z");
    let mut value = good();
    value["control_plane"]["token"] = json!(token);
    let config = FilterConfig::parse(value.to_string().as_bytes()).unwrap();
    let Source::ControlPlane(from) = &config.source else { panic!("{config:?}") };
    assert_eq!(from.token.as_ref().map(JoinToken::expose), Some(token.as_str()));
    assert!(!format!("{config:?}").contains(&token));
    let short = token[..40].to_owned();
    assert!(problem(|c| c["control_plane"]["token"] = json!(short)).starts_with("control_plane.token: must be a join token"));
    for problem in [
        problem(|c| c["control_plane"]["token"] = json!(short)),
        problem(|c| c["control_plane"] = json!(token)),
        problem(|c| c["control_plane"]["token"] = json!([token])),
        problem(|c| c["staleness_limit_seconds"] = json!(token)),
        problem(|c| c["carriers"] = json!([token])),
        problem(|c| c["preset"] = json!(token)),
    ] {
        assert!(!problem.contains(&short) && !problem.contains("aB3"), "{problem}");
    }
}

#[test]
fn a_rule_that_would_take_environments_paths_for_itself_is_refused() {
    let before = |path: &str, target: &str| {
        let mut config = good();
        config["rules"].as_array_mut().unwrap().insert(0, json!({"path": path, "target": target}));
        FilterConfig::parse(config.to_string().as_bytes()).map(|_| ()).map_err(|error| error.field)
    };
    for path in ["/**", "/v1/**", "/v1/projects/**", "/v1/projects/*", "/*/*/*", "/v1/*/**", "/v1/projects/*/x/**"] {
        assert_eq!(before(path, "account"), Err("rules[0].path".to_owned()), "{path}");
        assert_eq!(before(path, "public"), Err("rules[0].path".to_owned()), "{path}");
    }
    for path in ["/v1/projects", "/v1/*", "/v2/**", "/v1/projects/config", "/v1/projects/config/**", "/v1/accounts/*"] {
        assert_eq!(before(path, "account"), Ok(()), "{path}");
    }
    assert_eq!(before("/v1/**", "admin"), Ok(()));
}

#[test]
fn a_rule_that_can_never_decide_is_refused() {
    let mut config = good();
    config["rules"] = json!([{"path": "/v1/secret/**", "target": "admin"}, {"path": "/v1/secrets/**", "target": "account"}]);
    let error = FilterConfig::parse(config.to_string().as_bytes()).unwrap_err();
    assert_eq!(error.field, "rules[1].path");
}
