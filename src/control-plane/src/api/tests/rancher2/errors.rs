//! What is refused, and in which shape.

use super::*;

#[tokio::test]
async fn whoever_shows_nothing_that_passes_is_told_so_before_anything_else() {
    let plane = Plane::start().await;
    for token in ["", "token-x7k2p:nothing", "nothing"] {
        let client = plane.rancher2(token);
        for (method, path) in [
            ("GET", "/v3"),
            ("GET", "/v3/"),
            ("GET", "/v3/tokens"),
            ("GET", "/v3/tokens/token-x7k2p"),
            ("GET", "/v3/nothing"),
            ("GET", "/v3/tokens/a/b/c"),
            ("PATCH", "/v3/tokens"),
            ("POST", "/v3/tokens?action=explode"),
        ] {
            let refused = client.answer(method, path, None, 401).await;
            assert_eq!(
                refused.body,
                json!({"type": "error", "status": "401", "message": "must authenticate"}),
                "{method} {path}"
            );
            assert!(!refused.headers.contains_key("www-authenticate"));
        }
        let refused = client.request("POST", "/v3/tokens").body("{");
        assert_eq!(read(refused).await.status, 401);
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_refused_as_norman_does() {
    let plane = Plane::start().await;
    let alice = plane.user("alice").await;
    let (id, _) = alice.make(json!({})).await;
    for (method, path, status, code) in [
        ("GET", "/v3/nothing".to_owned(), 404, "NotFound"),
        ("GET", "/v3/tokens/a/b".to_owned(), 404, "NotFound"),
        ("GET", "/v3/tokens/%FF".to_owned(), 404, "NotFound"),
        ("PUT", "/v3/tokens".to_owned(), 405, "MethodNotAllow"),
        ("PUT", format!("/v3/tokens/{id}"), 405, "MethodNotAllow"),
        ("PATCH", format!("/v3/tokens/{id}"), 405, "MethodNotAllow"),
        ("DELETE", "/v3/tokens".to_owned(), 405, "MethodNotAllow"),
        ("POST", "/v3/clusters".to_owned(), 405, "MethodNotAllow"),
        ("POST", "/v3/schemas".to_owned(), 405, "MethodNotAllow"),
        ("PUT", "/v3".to_owned(), 405, "MethodNotAllow"),
        ("POST", "/v3/tokens?action=explode".to_owned(), 404, "ActionNotAvailable"),
        ("POST", format!("/v3/tokens/{id}?action=logout"), 404, "ActionNotAvailable"),
        ("GET", "/v3/tokens?limit=x".to_owned(), 422, "InvalidFormat"),
        ("GET", format!("/v3/tokens?{}", vec!["id_ne=x"; 65].join("&")), 422, "InvalidFormat"),
        ("GET", "/v3/authProviders".to_owned(), 404, "NotFound"),
    ] {
        assert_eq!(alice.refused(method, &path, None, status).await, code, "{method} {path}");
    }
    let nobody = plane.rancher2("");
    for (method, path, status, code) in [
        ("GET", "/v3-public/nothing", 404, "NotFound"),
        ("GET", "/v3-public/tokens", 404, "NotFound"),
        ("GET", "/v3-public/localProviders/other", 404, "NotFound"),
        ("POST", "/v3-public/localProviders/other?action=login", 404, "NotFound"),
        ("POST", "/v3-public/localProviders/local", 405, "MethodNotAllow"),
        ("POST", "/v3-public/localProviders/local?action=explode", 404, "ActionNotAvailable"),
    ] {
        assert_eq!(nobody.refused(method, path, None, status).await, code, "{method} {path}");
    }
    for body in ["{", "[]", "null", "x"] {
        let refused = read(alice.request("POST", "/v3/tokens").body(body)).await;
        assert_eq!((refused.status, &refused.body["code"]), (422, &json!("InvalidFormat")), "{body}");
        let refused = read(nobody.request("POST", LOGIN).body(body)).await;
        assert_eq!((refused.status, &refused.body["code"]), (422, &json!("InvalidBodyContent")), "{body}");
    }
    for (field, value) in [("ttl", json!("1h")), ("ttl", json!(1.5)), ("description", json!(7))] {
        let refused = alice.send("POST", "/v3/tokens", Some(json!({field: value})), 422).await;
        assert_eq!((&refused["code"], &refused["fieldName"]), (&json!("InvalidFormat"), &json!(field)), "{value}");
    }
    // curl -d says that JSON is a form.
    let curl = alice.request("POST", "/v3/tokens").header("content-type", "application/x-www-form-urlencoded");
    assert_eq!(read(curl.body(r#"{"ttl":1000}"#)).await.status, 201);
}

#[tokio::test]
async fn refusals_of_those_who_are_known_get_into_the_record() {
    let plane = Plane::start().await;
    let alice = plane.user("alice").await;
    plane.environment("c-aaaaa").await;
    plane.member("c-aaaaa", "alice", "member").await;
    let (_, limited) = alice.make(json!({"clusterId": "c-aaaaa"})).await;
    alice.send("GET", "/v3/settings", None, 403).await;
    plane.rancher2(&limited).send("GET", "/v3/tokens", None, 401).await;
    let record = plane.admin("GET", "audit", None, 200).await.body;
    let refused = record["data"].as_array().unwrap().iter().filter(|one| one["action"] == "request.refuse");
    let refused: Vec<_> = refused.map(|one| one["object"].as_str().unwrap()).collect();
    assert_eq!(refused, ["GET rancher-2 Token", "GET rancher-2 Setting"]);
    assert!(!record.to_string().contains(limited.split_once(':').unwrap().1), "no secret gets there");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_in_rancher_2s_own_shape() {
    let plane = Plane::start().await;
    for path in ["/v3/tokens", "/v3-public/localProviders/local?action=login"] {
        let answer = read(plane.rancher2(&plane.admin).request("POST", path).body(vec![b'x'; 100_000])).await;
        let (error, status) = (json!("error"), json!(413));
        assert_eq!((answer.status, &answer.body["type"], &answer.body["status"]), (413, &error, &status), "{path}");
        assert!(answer.body["message"].as_str().unwrap().contains("65536"), "{}", answer.body);
    }
}
