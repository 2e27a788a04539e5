//! Logging in and out in the dialect of Rancher 1.6.

use super::*;

#[tokio::test]
async fn a_password_opens_a_token_and_its_end_is_final() {
    let plane = Plane::start().await;
    plane.account("alice", "user").await;
    plane.password("alice", PASSWORD).await;
    let nobody = plane.rancher("");
    let before = nobody.get("/v1/token").await;
    assert_eq!((&before["data"][0]["authProvider"], &before["data"][0]["user"]), (&json!("localAuthConfig"), &Value::Null));
    assert_eq!((&before["data"][0]["security"], &before["data"][0]["enabled"]), (&json!(true), &json!(true)));

    let form = nobody.request("POST", "/v2-beta/token").header("content-type", "application/x-www-form-urlencoded");
    let form = form.body(format!("code=alice%3A{}", PASSWORD.replace(' ', "+")));
    let made = read(form).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!((&made.body["user"], &made.body["userType"]), (&json!("alice"), &json!("user")));
    assert_eq!(made.body["userIdentity"]["id"], format!("rancher_id:{}", made.body["accountId"].as_str().unwrap()));
    let jwt = made.body["jwt"].as_str().unwrap();

    let client = plane.rancher(jwt);
    assert_eq!(client.get("/v1/token").await["data"][0]["jwt"], jwt);
    let cookie = |method: &str, path: &str| nobody.request(method, path).header("cookie", format!("token={jwt}"));
    assert_eq!(read(cookie("GET", "/v1/projects")).await.status, 200);
    let alone = nobody.request("GET", "/v1/projects").header("authorization", jwt);
    assert_eq!(read(alone).await.status, 200, "the word Bearer may be left out");
    assert_eq!(client.get("/v1/identities").await["data"][0]["name"], "alice");
    assert!(client.get("/v1/identities?name=root").await["data"].as_array().unwrap().is_empty());
    let own = client.get("/v1/identities?name=alice").await["data"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(client.get(&format!("/v1/identities/{own}")).await["login"], "alice");
    let browser = cookie("POST", "/v1/apikeys").header("user-agent", "Mozilla/5.0");
    assert_eq!(read(browser).await.body["code"], "InvalidCSRFToken");

    let gone = read(cookie("DELETE", "/v1/token/current")).await;
    assert_eq!(gone.status, 204);
    assert!(gone.headers["set-cookie"].to_str().unwrap().starts_with("token=;"));
    client.send("GET", "/v1/apikeys", None, 401).await;
    assert_eq!(client.get("/v1/token").await["data"][0]["user"], Value::Null);
    assert_eq!(nobody.send("DELETE", "/v1/token/current", None, 500).await["code"], "JWTNotProvided");
    for (body, status, code) in [
        (json!({"code": "alice:wrong"}), 401, "Unauthorized"),
        (json!({"code": "nobody:wrong"}), 401, "Unauthorized"),
        (json!({"code": "alice"}), 403, "Forbidden"),
        (json!({"code": null}), 400, "codeInvalid"),
        (json!({"code": 7}), 422, "InvalidFormat"),
        (json!({}), 422, "MissingRequired"),
    ] {
        assert_eq!(nobody.send("POST", "/v1/token", Some(body.clone()), status).await["code"], code, "{body}");
    }
}

#[tokio::test]
async fn logging_out_ends_a_login_that_does_not_pass_now() {
    let plane = Plane::start().await;
    plane.account("alice", "user").await;
    plane.password("alice", PASSWORD).await;
    let switch = async |enabled: &str| plane.admin("PUT", "settings/login-enabled", Some(json!({"value": enabled})), 200).await;
    switch("false").await;
    let trial = plane.rancher_login("alice").await;
    trial.send("DELETE", "/v1/token/current", None, 204).await;
    switch("true").await;
    trial.send("GET", "/v1/apikeys", None, 401).await;

    let login = plane.rancher_login("alice").await;
    plane.admin("POST", "accounts/alice/deactivate", None, 200).await;
    login.send("DELETE", "/v1/token/current", None, 204).await;
    plane.admin("POST", "accounts/alice/activate", None, 200).await;
    login.send("GET", "/v1/apikeys", None, 401).await;
}

#[tokio::test]
async fn who_was_switched_off_while_logged_in_is_not_asked_for_a_key() {
    let plane = Plane::start().await;
    plane.account("alice", "user").await;
    plane.password("alice", PASSWORD).await;
    let token = &plane.rancher_login("alice").await.token;
    let asks = async |token: &str| {
        let answer = read(plane.rancher(token).request("GET", "/v1/apikeys")).await;
        (answer.status, answer.headers.contains_key("www-authenticate"))
    };
    plane.admin("POST", "accounts/alice/deactivate", None, 200).await;
    assert_eq!(asks(token).await, (401, false));
    plane.admin("POST", "accounts/alice/activate", None, 200).await;
    assert_eq!(asks(token).await, (200, false), "it is the same login again");
    plane.rancher(token).send("DELETE", "/v1/token/current", None, 204).await;
    assert_eq!(asks(token).await, (401, true), "one that is over counts as none");
}
