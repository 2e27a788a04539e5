//! Whether and how long people log in, as clients of Rancher 1.6 see and set it.

use super::*;

#[tokio::test]
async fn local_login_is_tried_before_it_is_switched_on_and_nothing_passes_without_a_credential() {
    let plane = Plane::start().await;
    let (_, alice) = plane.account("alice", "user").await;
    plane.password("alice", PASSWORD).await;
    let (admin, user, nobody) = (plane.rancher(&plane.admin), plane.rancher(&alice), plane.rancher(""));
    for method in ["GET", "POST"] {
        user.send(method, "/v1/localauthconfig", None, 404).await;
        nobody.send(method, "/v1/localauthconfig", None, 401).await;
    }
    let config = |password: &str, enabled: Value| json!({"type": "localAuthConfig", "accessMode": "required", "username": "root", "password": password, "enabled": enabled});
    let weak = admin.send("POST", "/v1/localauthconfig", Some(config("short", json!(false))), 422).await;
    assert_eq!(weak["fieldName"], "password");
    let saved = admin.send("POST", "/v1/localauthconfig", Some(config("another horse battery", json!(false))), 201).await;
    assert_eq!((&saved["enabled"], &saved["accessMode"], &saved["password"]), (&json!(false), &json!("required"), &Value::Null));
    let wrong = admin.send("POST", "/v1/localauthconfig", Some(config("wrong horse battery", json!(true))), 401).await;
    assert_eq!(wrong["code"], "IncorrectPassword");
    let record = plane.admin("GET", "audit?limit=1", None, 200).await.body;
    assert_eq!(record["data"][0]["object"], "POST rancher-1.6 LocalAuthConfig");
    assert_eq!(record["data"][0]["detail"], json!({"status": 401, "code": "IncorrectPassword"}));
    let user_named = json!({"username": "alice", "password": PASSWORD, "enabled": true});
    admin.send("POST", "/v1/localauthconfig", Some(user_named), 401).await;

    let trial = nobody.send("POST", "/v1/token", Some(json!({"code": format!("alice:{PASSWORD}")})), 201).await;
    assert_eq!((&trial["enabled"], &trial["security"], &trial["userType"]), (&json!(false), &json!(true), &json!("user")));
    let token = plane.rancher(trial["jwt"].as_str().unwrap());
    token.send("GET", "/v1/apikeys", None, 401).await;
    nobody.send("GET", "/v1/apikeys", None, 401).await;
    user.get("/v1/apikeys").await;
    admin.send("POST", "/v1/localauthconfig", Some(config("another horse battery", json!(true))), 201).await;
    token.get("/v1/apikeys").await;
    assert_eq!(admin.get("/v1/accounts?kind=admin").await["data"].as_array().unwrap().len(), 1, "nobody was promoted");
    let shown = admin.get("/v1/localauthconfig").await;
    assert_eq!((&shown["data"][0]["enabled"], &shown["data"][0]["password"]), (&json!(true), &Value::Null));
}

#[tokio::test]
async fn a_refused_configuration_gives_nobody_a_password() {
    let plane = Plane::start().await;
    plane.account("boss", "admin").await;
    plane.password("boss", PASSWORD).await;
    let nobody = plane.rancher("");
    let boss = plane.rancher_login("boss").await;
    // Who switches logins off by a login is refused; root has no password yet, and gets none by this.
    let config = json!({"username": "root", "password": "another horse battery", "enabled": false});
    boss.send("POST", "/v1/localauthconfig", Some(config), 409).await;
    nobody.send("POST", "/v1/token", Some(json!({"code": "root:another horse battery"})), 401).await;
}

#[tokio::test]
async fn access_modes_are_stored_and_shown_and_local_accounts_pass_in_each() {
    let plane = Plane::start().await;
    plane.account("alice", "user").await;
    for name in ["alice", "root"] {
        plane.password(name, PASSWORD).await;
    }
    let admin = plane.rancher(&plane.admin);
    let config = |mode: Value| json!({"accessMode": mode, "username": "root", "password": PASSWORD, "enabled": true, "allowedIdentities": []});
    for mode in ["restricted", "required", "unrestricted"] {
        assert_eq!(admin.send("POST", "/v1/localauthconfig", Some(config(json!(mode))), 201).await["accessMode"], mode);
        assert_eq!(admin.get("/v1/localauthconfig").await["data"][0]["accessMode"], mode);
        assert_eq!(plane.admin("GET", "settings/access-mode", None, 200).await.body["value"], mode);
        plane.rancher_login("alice").await.get("/v1/apikeys").await;
    }
    for (mode, code) in [(json!("open"), "InvalidOption"), (json!(7), "InvalidFormat"), (json!(""), "InvalidOption")] {
        let refused = admin.send("POST", "/v1/localauthconfig", Some(config(mode)), 422).await;
        assert_eq!((&refused["code"], &refused["fieldName"]), (&json!(code), &json!("accessMode")));
    }
    assert_eq!(admin.get("/v1/localauthconfig").await["data"][0]["accessMode"], "unrestricted");
}

#[tokio::test]
async fn how_long_a_token_lives_is_a_setting_by_ranchers_name_too() {
    let plane = Plane::start().await;
    let (_, alice) = plane.account("alice", "user").await;
    let (admin, user) = (plane.rancher(&plane.admin), plane.rancher(&alice));
    let path = "/v1/settings/api.auth.jwt.token.expiry";
    user.send("GET", path, None, 404).await;
    let shown = admin.get(path).await;
    assert_eq!((&shown["activeValue"], &shown["value"], &shown["inDb"]), (&json!("43200000"), &Value::Null, &json!(false)));
    let set = admin.send("PUT", path, Some(json!({"value": "57600000"})), 200).await;
    assert_eq!((&set["value"], &set["source"]), (&json!("57600000"), &json!("Database")));
    assert_eq!(admin.get("/v1/activesettings/1as!login-ttl-minutes").await["value"], "960");
    assert_eq!(admin.send("PUT", path, Some(json!({"value": "1000"})), 422).await["fieldName"], "value");
    assert_eq!(admin.send("PUT", path, Some(json!({"value": ""})), 200).await["inDb"], false);
    assert!(admin.ids("/v1/settings").await.contains(&"1as!api.auth.jwt.token.expiry".to_owned()));
    admin.send("GET", "/v1/settings/unheard.of", None, 404).await;
}
