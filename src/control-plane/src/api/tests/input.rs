//! Bad input: every answer names the field and the way out, and nothing is stored.

use super::*;

#[tokio::test]
async fn every_bad_field_is_named() {
    let plane = Plane::start().await;
    plane.environment("1a5").await;
    let long = "x".repeat(129);
    let table = [
        ("POST", "accounts", json!({}), "missing_field", "name"),
        ("POST", "accounts", json!({"name": "bob"}), "missing_field", "kind"),
        ("POST", "accounts", json!({"name": null, "kind": "user"}), "missing_field", "name"),
        ("POST", "accounts", json!({"name": 7, "kind": "user"}), "invalid_field", "name"),
        ("POST", "accounts", json!({"name": "7", "kind": "user"}), "invalid_field", "name"),
        ("POST", "accounts", json!({"name": "a/b", "kind": "user"}), "invalid_field", "name"),
        ("POST", "accounts", json!({"name": "bob", "kind": "king"}), "invalid_field", "kind"),
        ("POST", "accounts", json!({"name": "bob", "kind": "user", "extra": 1}), "unknown_field", "extra"),
        ("POST", "accounts", json!({"nmae": "bob", "kind": "user"}), "missing_field", "name"),
        ("POST", "environments", json!({"id": "..", "name": "x"}), "invalid_field", "id"),
        ("POST", "environments", json!({"id": "a/b", "name": "x"}), "invalid_field", "id"),
        ("POST", "environments", json!({"id": "1a6", "name": " "}), "invalid_field", "name"),
        ("PATCH", "environments/1a5", json!({}), "missing_field", "name"),
        ("PATCH", "environments/1a5", json!({"name": "x", "id": "1a6"}), "unknown_field", "id"),
        ("PUT", "environments/1a5/members/root", json!({"role": "king"}), "invalid_field", "role"),
        ("POST", "keys", json!({"name": "x"}), "invalid_field", "account"),
        ("POST", "keys", json!({"name": "x", "account": "root", "environment": "1a5"}), "invalid_field", "environment"),
        ("POST", "keys", json!({"account": "root"}), "missing_field", "name"),
        ("POST", "keys", json!({"account": "root", "name": long}), "invalid_field", "name"),
        ("POST", "keys", json!({"account": "root", "name": "a\u{7}"}), "invalid_field", "name"),
        (
            "POST",
            "keys",
            json!({"account": "root", "name": "x", "description": "x".repeat(1025)}),
            "invalid_field",
            "description",
        ),
        ("POST", "keys", json!({"account": "root", "name": "x", "ttlSeconds": 0}), "invalid_field", "ttlSeconds"),
        ("POST", "keys", json!({"account": "root", "name": "x", "ttlSeconds": -1}), "invalid_field", "ttlSeconds"),
        ("POST", "keys", json!({"account": "root", "name": "x", "ttlSeconds": "60"}), "invalid_field", "ttlSeconds"),
        ("POST", "keys", json!({"account": "root", "name": "x", "ttlSeconds": 1e30}), "invalid_field", "ttlSeconds"),
        ("POST", "keys", json!({"account": "root", "name": "x", "secretKey": "mine"}), "unknown_field", "secretKey"),
        ("PATCH", "keys/1", json!({"accessKey": "mine"}), "unknown_field", "accessKey"),
        ("GET", "keys?acount=root", Value::Null, "unknown_field", "acount"),
        ("GET", "keys?account=root&account=root", Value::Null, "invalid_field", "account"),
        ("GET", "keys/1?verbose=1", Value::Null, "unknown_field", "verbose"),
        ("GET", "whoami?verbose=1", Value::Null, "unknown_field", "verbose"),
        ("POST", "keys/1/activate?force=1", Value::Null, "unknown_field", "force"),
        ("DELETE", "accounts/nobody?force=1", Value::Null, "unknown_field", "force"),
        ("POST", "keys/1/activate?wait=301", Value::Null, "invalid_field", "wait"),
        ("POST", "keys/1/deactivate", json!({"name": "x"}), "invalid_field", "body"),
        ("DELETE", "keys/1", json!([]), "invalid_field", "body"),
        ("PATCH", "keys/1", json!({"name": null}), "invalid_field", "name"),
        ("GET", "revisions/1?wait=301", Value::Null, "invalid_field", "wait"),
        ("GET", "revisions/1?wait=-1", Value::Null, "invalid_field", "wait"),
    ];
    for (method, path, body, code, field) in table {
        let sent = (!body.is_null()).then(|| body.clone());
        let answer = plane.admin(method, path, sent, 422).await;
        let told = (answer.body["code"].as_str(), answer.body["field"].as_str());
        assert_eq!(told, (Some(code), Some(field)), "{method} {path} {body}: {}", answer.body);
        assert!(answer.body["message"].as_str().unwrap().contains(field), "{}", answer.body);
    }
    assert_eq!(plane.admin("GET", "accounts", None, 200).await.body["data"].as_array().unwrap().len(), 1);
    assert_eq!(plane.admin("GET", "keys", None, 200).await.body["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let plane = Plane::start().await;
    for path in [
        "accounts/nobody",
        "accounts/99999999999999999999",
        "accounts/-",
        "environments/none",
        "environments/none/members",
        "keys/7777",
        "keys/+1",
        "keys/18446744073709551615",
        "keys?account=nobody",
        "keys?environment=none",
        "revisions/999",
        "revisions/x",
        "nothing",
        "accounts/%FF",
        "accounts/",
    ] {
        let answer = plane.admin("GET", path, None, 404).await;
        assert!(answer.body["message"].is_string(), "{path}: {}", answer.body);
    }
    let wish = json!({"account": "nobody", "name": "x"});
    assert_eq!(plane.admin("POST", "keys", Some(wish), 404).await.body["field"], "account");
}

#[tokio::test]
async fn what_is_no_json_object_is_refused_before_anything_else() {
    let plane = Plane::start().await;
    let send = |kind: &str, body: Vec<u8>| {
        let request = plane.client.post(format!("{}/keygate/v1/accounts", plane.url)).bearer_auth(&plane.admin);
        read(request.header("content-type", kind).body(body))
    };
    let whole = br#"{"name":"bob","kind":"user"}"#;
    for (kind, body, status, code) in [
        ("application/json", b"{".to_vec(), 400, "malformed_json"),
        ("application/json", b"[]".to_vec(), 400, "malformed_json"),
        ("application/json", b"".to_vec(), 400, "malformed_json"),
        ("application/json", [whole.as_slice(), b"x"].concat(), 400, "malformed_json"),
        ("application/json", b"{\"name\":\"\xFF\"}".to_vec(), 400, "malformed_json"),
        ("application/json", vec![b' '; 64 * 1024 + 1], 413, "body_too_large"),
        ("text/plain", whole.to_vec(), 415, "not_json"),
        ("application/x-www-form-urlencoded", b"name=bob".to_vec(), 415, "not_json"),
    ] {
        let answer = send(kind, body).await;
        assert_eq!((answer.status, answer.body["code"].as_str()), (status, Some(code)), "{}", answer.body);
    }
    assert_eq!(send("Application/JSON; charset=utf-8", whole.to_vec()).await.status, 201);
}

#[tokio::test]
async fn a_field_that_is_given_twice_is_refused_by_name() {
    let plane = Plane::start().await;
    let request = plane.client.post(format!("{}/keygate/v1/accounts", plane.url)).bearer_auth(&plane.admin);
    let body = r#"{"name":"bob","kind":"user","name":"mallory"}"#;
    let answer = read(request.header("content-type", "application/json").body(body)).await;
    let told = (answer.status, answer.body["code"].as_str(), answer.body["field"].as_str());
    assert_eq!(told, (422, Some("invalid_field"), Some("name")), "{}", answer.body);
}

#[tokio::test]
async fn an_empty_object_counts_as_no_body() {
    let plane = Plane::start().await;
    plane.admin("POST", "keys/1/activate", Some(json!({})), 200).await;
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let plane = Plane::start().await;
    let answer = plane.admin("PUT", "accounts", None, 405).await;
    assert_eq!(answer.body["code"], "method_not_allowed");
    let allow = answer.headers["allow"].to_str().unwrap();
    assert!(allow.contains("GET") && allow.contains("POST"), "{allow}");
}

#[tokio::test]
async fn health_needs_no_credential() {
    let plane = Plane::start().await;
    let get = |path: &str| read(plane.client.get(format!("{}{path}", plane.url)));
    assert_eq!(get("/healthz").await.status, 200);
    assert_eq!(get("/readyz").await.status, 200);
    assert_eq!(get("/").await.status, 404);
    plane.store.stop().await;
    assert_eq!(get("/healthz").await.status, 200);
    assert_eq!(get("/readyz").await.status, 503);
}
