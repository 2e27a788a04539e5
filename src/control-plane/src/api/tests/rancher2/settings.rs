//! Rancher's names, sources and refusals.

use super::*;

#[tokio::test]
async fn settings_have_rancher_s_names_and_defaults() {
    let plane = Plane::start().await;
    let admin = plane.rancher2(&plane.admin);
    for (name, value) in [
        ("auth-token-max-ttl-minutes", "0"),
        ("kubeconfig-token-ttl-minutes", "960"),
        ("kubeconfig-generate-token", "true"),
        ("auth-user-session-ttl-minutes", "960"),
        ("cacerts", ""),
    ] {
        let setting = admin.get(&format!("/v3/settings/{name}")).await;
        let own = format!("{}/v3/settings/{name}", plane.url);
        for (field, expected) in [
            ("id", json!(name)),
            ("type", json!("setting")),
            ("baseType", json!("setting")),
            ("name", json!(name)),
            ("value", json!(value)),
            ("default", json!(value)),
            ("customized", json!(false)),
            ("source", json!("default")),
        ] {
            assert_eq!(setting[field], expected, "{name} {field}");
        }
        assert_eq!((&setting["links"]["self"], &setting["links"]["update"]), (&json!(own), &json!(own)));
        assert!(admin.ids("/v3/settings").await.contains(&name.to_owned()));
    }
    let put = admin.send("PUT", "/v3/settings/auth-token-max-ttl-minutes", Some(json!({"value": "60"})), 200).await;
    assert_eq!((&put["value"], &put["customized"], &put["source"]), (&json!("60"), &json!(true), &json!("db")));
    let native = plane.admin("GET", "settings/auth-token-max-ttl-minutes", None, 200).await.body;
    assert_eq!((&native["value"], &native["source"]), (&json!("60"), &json!("set")));
    let back = admin.send("PUT", "/v3/settings/auth-token-max-ttl-minutes", Some(json!({"value": ""})), 200).await;
    assert_eq!((&back["value"], &back["source"]), (&json!("0"), &json!("default")));
}

#[tokio::test]
async fn what_a_setting_cannot_be_is_refused_as_in_rancher() {
    let plane = Plane::start().await;
    let admin = plane.rancher2(&plane.admin);
    let put = async |name: &str, value: Value, status: u16| {
        admin.refused("PUT", &format!("/v3/settings/{name}"), Some(json!({"value": value})), status).await
    };
    let kubeconfig = "kubeconfig-token-ttl-minutes";
    assert_eq!(put(kubeconfig, json!("60"), 404).await, "ActionNotAvailable");
    assert_eq!(put("kubeconfig-generate-token", json!("false"), 200).await, "");
    assert_eq!(put(kubeconfig, json!("60"), 200).await, "");
    assert_eq!(put(kubeconfig, json!("0"), 200).await, "");
    assert_eq!(put("auth-token-max-ttl-minutes", json!("120"), 200).await, "");
    assert_eq!(put(kubeconfig, json!("0"), 422).await, "MaxLimitExceeded");
    assert_eq!(put(kubeconfig, json!("120.5"), 422).await, "MaxLimitExceeded");
    assert_eq!(put(kubeconfig, json!("120"), 200).await, "");
    for (name, value) in [
        (kubeconfig, json!("16h")),
        (kubeconfig, json!(60)),
        ("auth-token-max-ttl-minutes", json!("-1")),
        ("auth-user-session-ttl-minutes", json!("0")),
        ("kubeconfig-generate-token", json!("perhaps")),
    ] {
        assert_eq!(put(name, value.clone(), 422).await, "InvalidBodyContent", "{name} {value}");
    }
    assert_eq!(admin.refused("PUT", "/v3/settings/auth-token-max-ttl-minutes", Some(json!({})), 422).await, "MissingRequired");
    assert_eq!(put("cacerts", json!("x"), 405).await, "MethodNotAllow");
    assert_eq!(put("unheard-of", json!("x"), 404).await, "NotFound");
    assert_eq!(admin.refused("POST", "/v3/settings", Some(json!({})), 405).await, "MethodNotAllow");
}

#[tokio::test]
async fn settings_are_for_admins_but_for_what_comes_before_a_credential() {
    let plane = Plane::start().await;
    let (alice, nobody) = (plane.user("alice").await, plane.rancher2(""));
    for (method, path, deed) in [
        ("GET", "/v3/settings", "list setting"),
        ("GET", "/v3/settings/auth-token-max-ttl-minutes", "get setting"),
        ("PUT", "/v3/settings/auth-token-max-ttl-minutes", "update setting"),
    ] {
        let refused = alice.send(method, path, Some(json!({"value": "1"})), 403).await;
        assert_eq!((&refused["code"], &refused["message"]), (&json!("PermissionDenied"), &json!(format!("can not {deed}"))));
        nobody.send(method, path, None, 401).await;
    }
    assert_eq!(nobody.get("/v3/settings/cacerts").await["value"], "");
    assert_eq!(nobody.refused("GET", "/v3/settings/first-login", None, 404).await, "NotFound");
    nobody.send("PUT", "/v3/settings/cacerts", Some(json!({"value": ""})), 401).await;
}
