//! By password, and out.

use super::*;

fn alice() -> Value {
    json!({"username": "alice", "password": PASSWORD})
}

fn with(field: &str, value: Value) -> Value {
    let mut body = alice();
    body[field] = value;
    body
}

#[tokio::test]
async fn a_password_opens_a_token_that_ends_with_the_session() {
    let plane = Plane::start().await;
    plane.user("alice").await;
    let providers = plane.rancher2("").get("/v3-public/authProviders").await;
    let way = providers["data"][0]["actions"]["login"].as_str().unwrap();
    assert_eq!(way, format!("{}{LOGIN}", plane.url));
    assert_eq!(plane.rancher2("").get("/v3-public/authProviders/local").await["actions"]["login"], way);
    assert_eq!(plane.rancher2("").refused("GET", "/v3-public/authProviders/github", None, 404).await, "NotFound");
    let login = plane.log_in(with("ttl", json!(1)), 201).await.body;
    let token = login["token"].as_str().unwrap();
    assert!(token.starts_with("token-"), "{login}");
    for (field, value) in [
        ("type", json!("token")),
        ("isDerived", json!(false)),
        ("labels", json!({"authn.management.cattle.io/token-userId": "user-2", "authn.management.cattle.io/kind": "session"})),
        ("userId", json!("user-2")),
        ("ttl", json!(57_600_000)),
        ("expiresAt", json!("2027-01-16T00:00:00Z")),
    ] {
        assert_eq!(login[field], value, "{field}");
    }
    for ttl in [json!(-1), json!("1h"), json!([])] {
        assert_eq!(plane.log_in(with("ttl", ttl), 201).await.body["ttl"], 57_600_000);
    }
    assert!(login["links"]["self"].as_str().unwrap().starts_with(&format!("{}/v3/tokens/", plane.url)));
    let client = plane.rancher2(token);
    let own = format!("/v3/tokens/{}", login["id"].as_str().unwrap());
    assert_eq!(client.get(&own).await["current"], true);
    assert_eq!(holder(&plane.grant_of(token).unwrap()), (2, false));

    // It is not deleted while it is used, but ended.
    let refused = client.send("DELETE", &own, None, 400).await;
    assert_eq!(refused["code"], "ServerError");
    assert!(refused["message"].as_str().unwrap().contains("logout"), "{refused}");
    let second = plane.log_in(with("description", json!("laptop")), 201).await.body;
    let other = plane.rancher2(second["token"].as_str().unwrap());
    assert_eq!(other.get(&own).await["current"], false);
    assert_eq!(second["description"], "laptop");
    let out = client.answer("POST", "/v3/tokens?action=logout", None, 200).await;
    assert_eq!(out.body, Value::Null);
    let cookies: Vec<_> = out.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect();
    assert!(cookies[0].starts_with("R_SESS=;") && cookies[1].starts_with("CSRF=;"), "{cookies:?}");
    assert!(!client.passes().await && plane.grant_of(token).is_none());
    assert!(other.passes().await);

    plane.pass(57_600 - 1);
    assert!(other.passes().await);
    plane.pass(1);
    assert!(!other.passes().await);
}

#[tokio::test]
async fn a_token_comes_as_it_was_asked_for() {
    let plane = Plane::start().await;
    plane.user("alice").await;
    plane.environment("c-aaaaa").await;
    plane.member("c-aaaaa", "alice", "member").await;
    let answer = plane.log_in(with("responseType", json!("cookie")), 200).await;
    assert_eq!(answer.body, Value::Null);
    let cookie = answer.headers["set-cookie"].to_str().unwrap();
    let token = cookie.strip_prefix("R_SESS=").unwrap().split(';').next().unwrap();
    assert!(cookie.contains("; HttpOnly") && !cookie.contains("Secure"), "{cookie}");
    assert!(plane.rancher2(token).passes().await);
    let by_tls = plane.rancher2("").request("POST", LOGIN).header("x-forwarded-proto", "https");
    let answer = read(by_tls.json(&with("responseType", json!("cookie")))).await;
    assert!(answer.headers["set-cookie"].to_str().unwrap().contains("; Secure"));

    let all = plane.log_in(with("responseType", json!("kubeconfig")), 201).await.body;
    assert!(all["id"].as_str().unwrap().starts_with("kubeconfig-user-2-"), "{all}");
    assert_eq!((&all["ttl"], &all["clusterId"]), (&json!(57_600_000), &json!("")));
    let one = plane.log_in(with("responseType", json!("kubeconfig_c-aaaaa")), 201).await.body;
    assert!(one["id"].as_str().unwrap().starts_with("kubeconfig-user-2.c-aaaaa-"), "{one}");
    assert_eq!(one["clusterId"], "c-aaaaa");
    assert_eq!(holder(&plane.grant_of(one["token"].as_str().unwrap()).unwrap()), (2, true));
    for (response, field) in [("kubeconfig_nowhere", "clusterId"), ("kubeconfigs", "responseType")] {
        assert_eq!(plane.log_in(with("responseType", json!(response)), 422).await.body["fieldName"], field);
    }
    assert_eq!(plane.log_in(with("responseType", json!("token")), 201).await.body["type"], "token");
}

#[tokio::test]
async fn whoever_does_not_know_the_password_learns_nothing() {
    let plane = Plane::start().await;
    plane.user("alice").await;
    plane.user("ina").await;
    plane.admin("POST", "accounts/ina/deactivate", None, 200).await;
    for body in [
        json!({"username": "alice", "password": "wrong horse battery"}),
        json!({"username": "nobody", "password": PASSWORD}),
        json!({"username": "ina", "password": "wrong horse battery"}),
        json!({"username": "alice", "password": "x".repeat(2000)}),
        json!({"username": "", "password": PASSWORD}),
    ] {
        let refused = plane.log_in(body, 401).await.body;
        let expected = json!({"type": "error", "baseType": "error", "status": 401, "code": "Unauthorized", "message": "authentication failed"});
        assert_eq!(refused, expected);
    }
    let inactive = plane.log_in(json!({"username": "ina", "password": PASSWORD}), 403).await.body;
    assert_eq!(inactive["code"], "PermissionDenied");
    let missing = plane.log_in(json!({"username": "alice"}), 422).await.body;
    assert_eq!((&missing["code"], &missing["fieldName"]), (&json!("MissingRequired"), &json!("password")));
    for _ in 0..4 {
        plane.log_in(json!({"username": "alice", "password": "wrong horse battery"}), 401).await;
    }
    let throttled = plane.log_in(alice(), 429).await;
    assert!(throttled.headers.contains_key("retry-after"));
}

#[tokio::test]
async fn a_session_lives_as_long_as_is_set_and_another_password_leaves_tokens_alone() {
    let plane = Plane::start().await;
    let key = plane.user("alice").await;
    let admin = plane.rancher2(&plane.admin);
    admin.send("PUT", "/v3/settings/auth-user-session-ttl-minutes", Some(json!({"value": "60"})), 200).await;
    let login = plane.log_in(alice(), 201).await.body;
    assert_eq!(login["ttl"], 3_600_000);
    let session = plane.rancher2(login["token"].as_str().unwrap());
    let (_, token) = session.make(json!({})).await;
    let native = plane.call("", "POST", "login", Some(json!({"name": "alice", "password": PASSWORD}))).await.body;
    let native = plane.rancher2(native["token"].as_str().unwrap());
    assert!(native.passes().await);
    admin.send("POST", "/v3/users/user-2?action=setpassword", Some(json!({"newPassword": "another horse battery"})), 200).await;
    for client in [&key, &session, &plane.rancher2(&token)] {
        assert!(client.passes().await, "tokens stay, those of Rancher 2's logins, too");
    }
    assert!(!native.passes().await, "other logins end, as they always did");
    plane.log_in(alice(), 401).await;
}

#[tokio::test]
async fn a_browser_writes_only_from_our_own_page() {
    let plane = Plane::start().await;
    let (_, token) = plane.user("alice").await.make(json!({})).await;
    let browser = plane.rancher2("");
    let write = async |cookies: &str, proof: Option<&str>| {
        let request = browser.request("POST", "/v3/tokens").header("user-agent", "Mozilla/5.0").header("cookie", cookies);
        let request = proof.into_iter().fold(request, |request, proof| request.header("x-api-csrf", proof));
        read(request.json(&json!({}))).await
    };
    let session = format!("R_SESS={token}");
    for (cookies, proof) in
        [(session.clone(), None), (format!("{session}; CSRF=abc"), None), (format!("{session}; CSRF=abc"), Some("abd"))]
    {
        let refused = write(&cookies, proof).await;
        assert_eq!((refused.status, &refused.body["code"]), (422, &json!("InvalidCSRFToken")), "{cookies}");
    }
    assert_eq!(write(&format!("{session}; CSRF=abc"), Some("abc")).await.status, 201);
    let read_only = browser.request("GET", "/v3/tokens").header("user-agent", "Mozilla/5.0").header("cookie", &session);
    let seen = read(read_only).await;
    assert!(seen.headers["set-cookie"].to_str().unwrap().starts_with("CSRF="), "a browser gets its proof");
    let elsewhere = browser.request("POST", LOGIN).header("origin", "https://evil.example").json(&alice());
    assert_eq!(read(elsewhere).await.body["code"], "InvalidCSRFToken");
    // Who is no browser sends cookies knowingly.
    let tool = browser.request("POST", "/v3/tokens").header("cookie", &session).json(&json!({}));
    assert_eq!(read(tool).await.status, 201);
}
