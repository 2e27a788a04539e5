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
    plane.password("bob", PASSWORD).await;
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

#[tokio::test]
async fn what_is_wrong_is_said_in_ranchers_own_shape() {
    let plane = Plane::start().await;
    let (_, alice) = plane.account("alice", "user").await;
    let client = plane.rancher(&alice);
    let nobody = read(plane.rancher("").request("GET", "/v1/apikeys")).await;
    assert_eq!(
        (nobody.status, &nobody.body["code"], &nobody.body["message"]),
        (401, &json!("Unauthorized"), &json!("Unauthorized"))
    );
    let asks = r#"Basic realm="Enter API access key and secret key as username and password""#;
    assert_eq!(nobody.headers["www-authenticate"], asks);
    let quiet = read(plane.rancher("").request("GET", "/v1/apikeys").header("x-api-no-challenge", "true")).await;
    assert!(!quiet.headers.contains_key("www-authenticate"));

    let post = |body: &'static str| client.request("POST", "/v1/apikeys").body(body);
    for (body, status, code) in [
        ("{", 400, "InvalidBodyContent"),
        ("[]", 400, "InvalidBodyContent"),
        (r#"{"name": 7}"#, 422, "InvalidFormat"),
        (r#"{"name": "a\u0000"}"#, 422, "InvalidFormat"),
    ] {
        let answer = read(post(body)).await;
        assert_eq!((answer.status, &answer.body["code"]), (status, &json!(code)), "{body}: {}", answer.body);
    }
    let long = json!({"name": "x".repeat(129)});
    let answer = client.send("POST", "/v1/apikeys", Some(long), 422).await;
    assert_eq!((&answer["fieldName"], &answer["message"]), (&json!("name"), &Value::Null));
    assert_eq!(read(client.request("POST", "/v1/apikeys").body(vec![b'{', 0xff])).await.status, 400);
    assert_eq!(read(post("")).await.status, 201, "a key needs no name");
    // As curl -d sends it, and JSON over the query.
    let curl = client.request("POST", "/v1/apikeys?name=query&description=query");
    let curl = curl.header("content-type", "application/x-www-form-urlencoded").body(r#"{"name": "body"}"#);
    let made = read(curl).await.body;
    assert_eq!((&made["name"], &made["description"]), (&json!("body"), &json!("query")));
    for path in ["/v1/unheard", "/v1/apikeys/1c999", "/v1/apikeys/7", "/v1/apikeys/1c1/x/y", "/v1/accounts/1a1000001", "/v1/%ff"]
    {
        client.send("GET", path, None, 404).await;
    }
    for (method, path) in
        [("PUT", "/v1/apikeys"), ("POST", "/v1/accounts"), ("DELETE", "/v1/projects"), ("POST", "/v1/identities")]
    {
        client.send(method, path, None, 405).await;
    }
    assert_eq!(client.send("POST", "/v1/token?code=x", None, 403).await["code"], "Forbidden");
}

#[tokio::test]
async fn a_query_has_bounds_and_nothing_of_a_method_gets_into_the_record() {
    let plane = Plane::start().await;
    let (key, alice) = plane.account("alice", "user").await;
    let client = plane.rancher(&alice);
    let filters = |number: usize| format!("/v1/apikeys?{}", vec!["id_ne=x"; number].join("&"));
    client.get(&filters(16)).await;
    assert_eq!(client.send("GET", &filters(64), None, 422).await["code"], "InvalidOption");
    for path in [filters(65), format!("/v1/apikeys?name={}", "x".repeat(8192)), format!("{}&_method=GET", filters(65))] {
        let refused = client.send(if path.contains("_method") { "POST" } else { "GET" }, &path, None, 400).await;
        assert_eq!(refused["code"], "QueryTooLong");
    }
    plane.admin("POST", &format!("keys/{key}/deactivate"), None, 200).await;
    client.send("POST", "/v1/apikeys?_method=hunter2", None, 401).await;
    client.send("HUNTER2", "/v1/apikeys", None, 401).await;
    let record = plane.admin("GET", "audit", None, 200).await.body;
    let said = record["data"].as_array().unwrap().iter().filter(|one| one["action"] == "request.refuse");
    let said: Vec<_> = said.map(|one| one["object"].as_str().unwrap()).collect();
    assert_eq!(said, ["OTHER rancher-1.6 ApiKey", "OTHER rancher-1.6 ApiKey"]);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_in_ranchers_own_shape_and_read_to_be_heard() {
    let plane = Plane::start().await;
    let (_, alice) = plane.account("alice", "user").await;
    let client = plane.rancher(&alice);
    for (method, path) in
        [("POST", "/v1/apikeys"), ("PUT", "/v2-beta/apikeys/1c1"), ("POST", "/v1/token"), ("POST", "/v1/unheard")]
    {
        let answer = read(client.request(method, path).body(vec![b'x'; 10_000_000])).await;
        assert_eq!((answer.status, &answer.body["type"], &answer.body["status"]), (413, &json!("error"), &json!(413)), "{path}");
    }
    assert_eq!(client.ids("/v1/apikeys").await.len(), 1, "nothing was made");
}
