//! What every path of the dialect of Rancher 1.6 makes of nonsense: an error in its own shape, and nothing else.

use super::*;

/// Each operation of the dialect, with ids of nobody's or of somebody else's things.
async fn operations(plane: &Plane, ids: &[(&str, &str)]) -> Vec<(String, String)> {
    let page = read(plane.client.get(format!("{}/openapi.json", plane.url))).await.body;
    let mut all = Vec::new();
    for (path, operations) in page["paths"].as_object().unwrap().iter().filter(|(path, _)| path.starts_with("/v1")) {
        let kind = path.split('/').rev().find(|part| !part.starts_with('{')).unwrap_or_default();
        let id = ids.iter().find(|(own, _)| *own == kind).map_or("none", |(_, id)| id);
        let filled = path.replace("{projectId}", "1a6").replace("{id}", id);
        for (method, operation) in operations.as_object().unwrap().iter().filter(|(method, _)| *method != "parameters") {
            let actions = operation["parameters"].as_array().unwrap().iter().find(|parameter| parameter["name"] == "action");
            let actions = actions.map(|action| action["schema"]["enum"].as_array().unwrap().clone()).unwrap_or_default();
            match actions.as_slice() {
                [] => all.push((method.to_uppercase(), filled.clone())),
                actions => all.extend(
                    actions.iter().map(|action| ("POST".to_owned(), format!("{filled}?action={}", action.as_str().unwrap()))),
                ),
            }
        }
    }
    all
}

/// All that may be changed, as an admin sees it.
async fn everything(plane: &Plane) -> Vec<Value> {
    let mut seen = Vec::new();
    for path in ["accounts", "environments", "environments/1a6/members", "keys", "settings"] {
        seen.push(plane.admin("GET", path, None, 200).await.body);
    }
    seen
}

#[tokio::test]
async fn nonsense_is_refused_in_ranchers_shape_and_changes_nothing() {
    let plane = Plane::start().await;
    let (_, alice) = plane.account("alice", "user").await;
    plane.environment("1a6").await;
    let (key, _) = plane.account("bob", "user").await;
    plane.member("1a6", "bob", "owner").await;
    plane.admin("PUT", "accounts/bob/password", Some(json!({"password": "correct horse battery"})), 204).await;
    let bob =
        plane.rancher(&plane.admin).get("/v1/identities?name=bob").await["data"][0]["externalId"].as_str().unwrap().to_owned();
    let (key, member) = (format!("1c{key}"), format!("1a6-{bob}"));
    let password = plane.rancher(&plane.admin).ids("/v1/passwords").await.remove(0);
    let identity = format!("rancher_id:{bob}");
    let ids = [
        ("apikeys", key.as_str()),
        ("accounts", &bob),
        ("projects", "1a6"),
        ("projectmembers", &member),
        ("passwords", &password),
        ("identities", &identity),
        ("settings", "login-ttl-minutes"),
    ];
    let (before, client) = (everything(&plane).await, plane.rancher(&alice));
    let operations = operations(&plane, &ids).await;
    assert!(operations.len() > 40, "{}", operations.len());
    let deep = "[".repeat(5000);
    let bodies: [(&[u8], bool); 8] = [
        (b"{", true),
        (b"[]", true),
        (b"7", true),
        (b"{\"name\": \"\xff\"}", true),
        (deep.as_bytes(), true),
        (b"{\"name\": {}, \"role\": 7, \"members\": 7, \"value\": [], \"secretValue\": 7, \"newSecret\": 7, \"code\": 7}", false),
        (b"{\"name\": \"a\\u0000b\", \"description\": \"\\u0007\", \"role\": \"\", \"value\": \"\", \"members\": []}", false),
        (b"{}", false),
    ];
    for (method, path) in &operations {
        // The caller's own list is the caller's own.
        let own = ["/v1/apikeys", "/v1/tokens"].contains(&path.as_str()) && method == "POST";
        for (body, is_unreadable) in bodies {
            let answer = read(client.request(method, path).body(body.to_vec())).await;
            if is_unreadable {
                assert_eq!((answer.status, &answer.body["code"]), (400, &json!("InvalidBodyContent")), "{method} {path}");
            } else if method != "GET" && !own {
                let logs_out = (method.as_str(), path.as_str()) == ("DELETE", "/v1/tokens/none");
                assert!(logs_out || (400..500).contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.body);
            }
            if answer.status >= 400 {
                assert_eq!(
                    (&answer.body["type"], &answer.body["status"]),
                    (&json!("error"), &json!(answer.status)),
                    "{method} {path}"
                );
                assert!(!answer.body.to_string().contains("bob"), "{method} {path}: {}", answer.body);
            }
        }
    }
    for method in ["GET", "POST"] {
        let long = client.request(method, &format!("/v1/{}", "x".repeat(5000)));
        assert_eq!(read(long).await.status, 404);
        assert_eq!(read(client.request(method, "/v1/apikeys?name=%ff")).await.status, 400);
        assert_eq!(read(client.request(method, "/v1/projects/%ff/apikeys")).await.status, 404);
    }
    // A key that says nothing is one; those are all that there are more of.
    let mut after = everything(&plane).await;
    let keys = after[3]["data"].as_array_mut().unwrap();
    keys.retain(|key| key["account"] != "alice" || key["name"] == "test");
    assert_eq!(after, before);
}
