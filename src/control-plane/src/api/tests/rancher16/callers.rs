//! Who asks, and for which project, in the ways of Rancher 1.6's clients.

use super::*;

#[tokio::test]
async fn a_token_comes_under_the_special_user_with_or_without_a_project() {
    let plane = Plane::start().await;
    plane.account("alice", "user").await;
    for environment in ["1a5", "1a6"] {
        plane.environment(environment).await;
        plane.member(environment, "alice", "owner").await;
        plane.key(json!({"environment": environment, "name": environment})).await;
    }
    plane.password("alice", PASSWORD).await;
    let nobody = plane.rancher("");
    let token = plane.rancher_login("alice").await.token;
    let as_user = |user: &str, path: &str| nobody.request("GET", path).basic_auth(user, Some(&token));
    let names = async |request: reqwest::RequestBuilder| {
        let answer = read(request).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["data"].as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(as_user("x-api-bearer", "/v1/apikeys")).await, ["test"]);
    assert_eq!(names(as_user("x-api-bearer=1a6", "/v1/apikeys")).await, ["1a6"]);
    // The path before the header before the query before the user.
    let header = as_user("x-api-bearer=1a6", "/v1/apikeys?projectId=1a6").header("x-api-project-id", "1a5");
    assert_eq!(names(header).await, ["1a5"]);
    assert_eq!(names(as_user("x-api-bearer=1a6", "/v1/apikeys?projectId=1a5")).await, ["1a5"]);
    let path = as_user("x-api-bearer=1a6", "/v1/projects/1a5/apikeys?projectId=1a6").header("x-api-project-id", "1a6");
    assert_eq!(names(path).await, ["1a5"]);
    assert_eq!(read(as_user("x-api-bearer=1a9", "/v1/apikeys")).await.status, 403);
    // What is empty names none.
    let empty = as_user("x-api-bearer=1a6", "/v1/apikeys?projectId=1a5").header("x-api-project-id", "");
    assert_eq!(names(empty).await, ["1a5"]);
    assert_eq!(names(as_user("x-api-bearer=1a6", "/v1/apikeys?projectId=")).await, ["1a6"]);
    let wrong = nobody.request("GET", "/v1/apikeys").basic_auth("x-api-bearer", Some("wrong"));
    assert_eq!(read(wrong).await.status, 401);
}

#[tokio::test]
async fn an_environments_key_names_its_project_and_grants_nothing() {
    let plane = Plane::start().await;
    let (_, alice) = plane.account("alice", "user").await;
    for environment in ["1a5", "1a6"] {
        plane.environment(environment).await;
    }
    plane.member("1a5", "alice", "owner").await;
    let keys = plane.rancher(&plane.admin);
    let make = async |path: &str| keys.send("POST", path, Some(json!({"name": "x"})), 201).await;
    let (own, foreign) = (make("/v1/projects/1a5/apikeys").await, make("/v1/projects/1a6/apikeys").await);
    let client = plane.rancher(&alice);
    let naming =
        |access: &Value| client.request("GET", "/v1/apikeys").header("x-api-client-access-key", access.as_str().unwrap());
    assert_eq!(read(naming(&own["publicValue"])).await.body["data"][0]["id"], own["id"]);
    let account = client.get("/v1/apikeys").await["data"][0]["publicValue"].clone();
    for other in [&foreign["publicValue"], &account, &json!("0123456789ABCDEF0123"), &json!("a:b")] {
        assert_eq!(read(naming(other)).await.status, 403, "{other}");
    }
    // What is blank names none.
    assert_eq!(read(naming(&json!(""))).await.body["data"][0]["publicValue"], account);
    let alone = plane.rancher("").request("GET", "/v1/apikeys");
    assert_eq!(read(alone.header("x-api-client-access-key", own["publicValue"].as_str().unwrap())).await.status, 401);
}

#[tokio::test]
async fn a_project_is_closed_to_whoever_may_not_enter_it() {
    let plane = Plane::start().await;
    let (_, alice) = plane.account("alice", "user").await;
    plane.password("alice", PASSWORD).await;
    for environment in ["1a5", "1a6"] {
        plane.environment(environment).await;
    }
    plane.member("1a5", "alice", "readonly").await;
    let (_, machine) = plane.key(json!({"environment": "1a5", "name": "m"})).await;
    let inside = ["apikeys", "accounts", "projects", "schemas", "schemas/apikey", "identities", "passwords", "settings"];
    for client in [&alice, &machine].map(|token| plane.rancher(token)) {
        for place in inside.into_iter().chain(["apikeys/1c1", "projects/1a5", "nope"]) {
            for project in ["1a6", "1a9", "...", "a%20b"] {
                let forbidden = client.send("GET", &format!("/v1/projects/{project}/{place}"), None, 403).await;
                assert_eq!(forbidden["code"], "Forbidden");
                client.send("GET", &format!("/v1/{place}?projectId={project}"), None, 403).await;
            }
            let named = client.request("GET", &format!("/v1/{place}")).header("x-api-project-id", "1a6");
            assert_eq!(read(named).await.status, 403, "{place}");
        }
        for (method, path) in [("POST", "identities"), ("PUT", "projects/1a5"), ("PATCH", "schemas")] {
            client.send(method, &format!("/v1/projects/1a6/{path}"), None, 403).await;
        }
        // The project itself, and who its members are, is not in it: strangers are told that there is no such project.
        for project in ["1a6", "1a9", "..."] {
            client.send("GET", &format!("/v1/projects/{project}"), None, 404).await;
            client.send("GET", &format!("/v1/projects/{project}/projectmembers"), None, 404).await;
            client.send("GET", &format!("/v1/projectmembers?projectId={project}"), None, 403).await;
        }
        for place in ["accounts", "projects", "schemas", "identities", "passwords", "projectmembers"] {
            client.get(&format!("/v1/projects/1a5/{place}")).await;
            client.get(&format!("/v1/{place}?projectId=1a5")).await;
        }
    }
    let admin = plane.rancher(&plane.admin);
    for place in inside {
        admin.get(&format!("/v1/projects/1a6/{place}")).await;
        admin.send("GET", &format!("/v1/projects/1a9/{place}"), None, 403).await;
    }
    // Whoever has no credential yet enters nothing.
    plane.rancher("").get("/v1/projects/1a6/token").await;
    let refused = plane.admin("GET", "audit?limit=1000", None, 200).await.body;
    let noted = |object: &str| refused["data"].as_array().unwrap().iter().any(|record| record["object"] == object);
    assert!(noted("GET rancher-1.6 Schema") && noted("GET rancher-1.6 Identity"), "{refused}");
}

#[tokio::test]
async fn answers_say_who_asks_and_as_whom_they_act() {
    let plane = Plane::start().await;
    let (_, alice) = plane.account("alice", "user").await;
    plane.environment("1a5").await;
    plane.member("1a5", "alice", "owner").await;
    let (_, machine) = plane.key(json!({"environment": "1a5", "name": "m"})).await;
    let account = plane.rancher(&alice).ids("/v1/accounts").await.remove(0);
    let said = async |token: &str, path: &str| {
        let headers = read(plane.rancher(token).request("GET", path)).await.headers;
        let said = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        ["x-api-account-id", "x-api-user-id", "x-api-account-kind", "x-api-account-name"].map(said)
    };
    assert_eq!(said(&alice, "/v1/apikeys").await, [&account, &account, "user", "alice"]);
    assert_eq!(said(&alice, "/v1/projects/1a5/apikeys").await, ["1a5", &account, "user", "alice"]);
    assert_eq!(said(&alice, "/v1/projects/1a9/apikeys").await, [&account, &account, "user", "alice"], "what is not entered");
    assert_eq!(said(&machine, "/v1/projects").await, ["1a5", "1a5", "project", "1a5"]);
    assert_eq!(said("", "/v1/projects").await, ["", "", "", ""]);
}

#[tokio::test]
async fn a_browser_writes_with_its_pages_proof_alone() {
    let plane = Plane::start().await;
    plane.account("alice", "user").await;
    plane.password("alice", PASSWORD).await;
    let nobody = plane.rancher("");
    let cookie = format!("token={}; CSRF=1a2b", plane.rancher_login("alice").await.token);
    let browser =
        |method: &str, path: &str| nobody.request(method, path).header("user-agent", "Mozilla/5.0").header("cookie", &cookie);
    assert_eq!(read(browser("GET", "/v1/apikeys")).await.status, 200);
    assert_eq!(read(browser("POST", "/v1/apikeys?CSRF=guess")).await.body["code"], "InvalidCSRFToken");
    assert!(!read(browser("GET", "/v1")).await.headers.contains_key("set-cookie"), "it has its proof");
    let first = nobody.request("GET", "/v1/token").header("user-agent", "Mozilla/5.0");
    assert!(read(first).await.headers["set-cookie"].to_str().unwrap().starts_with("CSRF="), "a browser gets its proof");
    assert!(!read(nobody.request("GET", "/v1/token")).await.headers.contains_key("set-cookie"), "others need none");
    assert_eq!(read(browser("POST", "/v1/apikeys?CSRF=1a2b")).await.status, 201);
    assert_eq!(read(browser("POST", "/v1/apikeys").header("x-api-csrf", "1a2b")).await.status, 201);
    // What looks like a read does not write, and a POST may stand for another method.
    let key = read(browser("GET", "/v1/apikeys")).await.body["data"][1]["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/apikeys/{key}");
    assert_eq!(read(browser("GET", &format!("{path}?_method=DELETE"))).await.status, 405);
    assert_eq!(read(browser("GET", &format!("{path}?_method=get"))).await.status, 200);
    assert_eq!(read(browser("POST", &format!("{path}?_method=delete"))).await.body["code"], "InvalidCSRFToken");
    let proved = |path: &str| browser("POST", path).header("x-api-csrf", "1a2b");
    assert_eq!(read(proved(&format!("{path}?_method=delete"))).await.status, 405, "it is active");
    assert_eq!(read(proved(&format!("{path}?_method=PUT&name=renamed"))).await.body["name"], "renamed");
}
